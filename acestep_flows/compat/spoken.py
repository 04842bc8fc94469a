"""Which families a server speaks: `--speak NAME[=PORT]`. Light, because the command line reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from acestep_flows.errors import InputError

HERE = Path(__file__).parent
FAMILIES = ("acestep15", "replicate", "fal", "openai", "gradio", "v1")
"""Names of families; each is a folder beside this file."""

ROOT = "/compat"
"""Path on the server's own port below which every family has its name."""

OPTION = "--speak"

AT_ROOT = "acestep_flows.at_root"
"""Key in a request's ASGI scope: it came by the port of a family, whose paths are at the root there."""


@dataclass(frozen=True)
class Spoken:
    """A family that a server speaks.

    Attributes:
        name: of the family.
        port: a port of its own on the loopback interface, with the family's paths at the root; None without one. 0
            takes a free one.
    """

    name: str
    port: int | None = None

    @property
    def path(self) -> str:
        """The path of the family on the server's own port."""
        return family_path(self.name)


def family_path(name: str) -> str:
    """The path of a family on the server's own port."""
    return f"{ROOT}/{name}"


def families() -> tuple[str, ...]:
    """The families that this version has."""
    return tuple(name for name in FAMILIES if (HERE / name / "family.py").is_file())


def read_spoken(texts: Iterable[str], *, ports: bool = True) -> tuple[Spoken, ...]:
    """What `--speak` was given, once per family.

    Args:
        ports: whether a family may have a port of its own.

    Raises:
        InputError: there is no such family, a port is not one, or a family or port was given twice.
    """
    spoken = tuple(_read(text, ports) for text in texts)
    for names in ([one.name for one in spoken], [one.port for one in spoken if one.port]):
        twice = [name for name, count in Counter(map(str, names)).items() if count > 1]
        if twice:
            raise InputError(f"{twice[0]} given twice", where=OPTION, allowed="each family and each port once")
    return spoken


def _read(text: str, ports: bool) -> Spoken:
    name, equals, port = text.partition("=")
    if name not in families():
        raise InputError(f"no family {name[:60]!r}", where=OPTION, allowed=", ".join(families()))
    if not equals:
        return Spoken(name)
    if not ports:
        raise InputError(f"{text[:60]!r}: no ports of their own here", where=OPTION, allowed=f"{name}")
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise InputError(f"{port[:60]!r} is not a port", where=OPTION, allowed=f"{name}=PORT, 0 to 65535")
    return Spoken(name, int(port))
