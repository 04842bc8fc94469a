"""Which of two behaviours to follow where the original implementation has a defect: one setting for all layers."""

from __future__ import annotations

from typing import Literal

Compatibility = Literal["corrected", "upstream"]
"""`corrected` is the product's default; `upstream` reproduces the recorded behaviour of the original, defects included."""
