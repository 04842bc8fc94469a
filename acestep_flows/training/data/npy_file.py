"""Arrays in files of numpy that may be damaged."""

from __future__ import annotations

import warnings
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DAMAGE = (EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TokenError, TypeError, UserWarning)
"""What numpy raises for headers that are none, beside ValueError."""


def mapped(file: Path) -> NDArray[Any]:
    """The array in a file, memory-mapped.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or has a header as numpy does not write it now.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (
        EOFError,
        UserWarning,
        TokenError,
        SyntaxError,
        MemoryError,
        OverflowError,
        RecursionError,
        TypeError,
    ) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if not isinstance(array, np.ndarray):
        raise ValueError("several arrays in a zip file")
    return array
