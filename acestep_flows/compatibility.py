"""Which of two behaviours to follow where the original implementation has a defect: one setting for all layers."""

from __future__ import annotations

from typing import Literal

Compatibility = Literal["corrected", "upstream"]
"""`corrected` is the default; `upstream` reproduces what the original was recorded to do, defects included."""
