from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from acestep_flows.text.loading import load_once


def test_many_threads_share_one_load() -> None:
    loads: list[object] = []

    @load_once
    def library() -> object:
        time.sleep(0.02)
        loads.append(object())
        return loads[-1]

    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(library())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == loads * 8


def test_a_failed_load_is_tried_again() -> None:
    attempts: list[int] = []

    @load_once
    def library() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("no dictionary")
        return "loaded"

    with pytest.raises(OSError, match="no dictionary"):
        library()
    assert library() == "loaded"


def test_import_loads_no_language_library() -> None:
    heavy = ("torch", "tokenizers", "cutlet", "fugashi", "py3langid", "pypinyin", "num2words", "hangul_romanize")
    code = f"import sys, acestep_flows.text.lyrics; print([name for name in {heavy} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
