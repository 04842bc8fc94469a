"""The slow libraries stay out until they are used."""

from __future__ import annotations

import subprocess
import sys

MODULES = "formats id3 locality loudness measure mix musical picture read resample riff spectrum splice tags write"


def test_no_slow_import_at_import_time() -> None:
    code = (
        f"import sys\nfrom acestep_flows.audio import {', '.join(MODULES.split())}\n"
        "slow = {'torch', 'librosa', 'numba', 'matplotlib', 'pyloudnorm', 'scipy.signal'} & set(sys.modules)\n"
        "print(*slow)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
