"""Options and markers of the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest

DEFAULT_REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference",
        type=Path,
        default=DEFAULT_REFERENCE,
        metavar="DIR",
        help="folder with the reference checkpoint and goldens; tests that need it skip without it",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "parity: compares with recorded numbers of the original")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
