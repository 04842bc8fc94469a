"""Where torch.compile keeps the code that it makes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from acestep_flows.storage import open_to_others

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def keep_compiled_code(cache: Path | None) -> None:
    """Have torch keep compiled code in a folder of this user, unless the variable names one.

    By default it takes a folder of a known name in the shared temporary folder. Another user can make that folder
    first, and torch would run the code that it finds there.

    Args:
        cache: the cache folder; None, or one that others may write to or this user may not: a new folder, closed to
            others.
    """
    folder = cache and cache / "compiled"
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(map(open_to_others, (folder.parent, folder))):
                folder = None
    except OSError:
        folder = None
    os.environ.setdefault(VARIABLE, str(folder or tempfile.mkdtemp(prefix="acestep-flows-compiled-")))
