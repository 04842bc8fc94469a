"""The extras of this package: which optional packages each one installs, and how to get them.

A door that needs an extra calls `require` before it does anything else. `importlib` finds the packages without
importing them, so this costs nothing.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from acestep_flows.errors import MissingPackage

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Extra:
    """An extra of the package.

    Attributes:
        name: its name in pyproject.toml.
        doors: what needs it, for users.
        modules: the modules that it installs, as they are imported here.
    """

    name: str
    doors: str
    modules: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [module for module in self.modules if not _is_installed(module)]


EXTRAS = (
    Extra(
        "serve",
        "acestep-flows serve and key",
        (
            *("ray", "fastapi", "starlette", "uvicorn", "prometheus_client", "sqlalchemy", "alembic", "pyarrow"),
            "opentelemetry",
        ),
    ),
    Extra("bulk", "acestep-flows bulk, and --workers of train and encode", ("ray", "pandas", "pyarrow")),
    Extra("postgres", "serve --database postgresql://...", ("psycopg",)),
    Extra("s3", "links straight into an S3 store", ("botocore",)),
    Extra("tracing", "OTEL_EXPORTER_OTLP_ENDPOINT of serve", ("opentelemetry.sdk", "opentelemetry.exporter.otlp")),
    Extra("tracking", "MLflow tracking of bulk and train", ("mlflow",)),
)


def require(name: str, what: str, modules: Sequence[str] = ()) -> None:
    """Refuse at once where an extra is not installed.

    Args:
        name: the extra.
        what: the command or option that needs it, for the message.
        modules: those of its modules that are needed; all of them by default.

    Raises:
        MissingPackage: one of the modules is not installed.
    """
    extra = _extra(name)
    missing = [module for module in extra.missing if module in (modules or extra.modules)]
    if missing:
        raise MissingPackage(missing, f"{what} needs", how_to_install(name))


def is_missing(name: str) -> bool:
    """Whether an extra is not installed, or only in part."""
    return bool(_extra(name).missing)


def missing_package(module: str) -> MissingPackage:
    """The error for a module that was imported and is not installed."""
    package = module.partition(".")[0]
    extra = next((extra.name for extra in EXTRAS if package in extra.modules), "")
    return MissingPackage([package], "this needs", how_to_install(extra))


def how_to_install(extra: str) -> str:
    """The command that installs an extra; "" stands for the package itself."""
    brackets = f"[{extra}]" if extra else ""
    if (ROOT / "pyproject.toml").is_file():
        return f"{_pip()} install -e '.{brackets}' in {ROOT}"
    return f"{_pip()} install 'FILE.whl{brackets}' with the wheel of this package"


def _extra(name: str) -> Extra:
    return next(extra for extra in EXTRAS if extra.name == name)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # half of it is there
        return False


def _pip() -> str:
    """The pip of this environment: the one on the path may be another."""
    pip = Path(sys.executable).with_name("pip")
    if shutil.which("pip") == str(pip) or not pip.is_file():
        return "pip"
    return str(pip.relative_to(ROOT) if pip.is_relative_to(ROOT) else pip)
