"""Ray for those who need it."""

from __future__ import annotations

from tests.runtime.bulk.conftest import bare_ray

__all__ = ["bare_ray"]
