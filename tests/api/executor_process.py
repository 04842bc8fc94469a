"""`python -m tests.api.executor_process HOME SLOTS [DATABASE]`: an executor over toy stages until it is ended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.api.toys import serve

asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
