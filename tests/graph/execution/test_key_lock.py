"""Claims between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from acestep_flows.graph.execution.key_lock import claim

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from acestep_flows.graph.execution.key_lock import claim
held = claim(Path(sys.argv[1]))
print("held" if held else "refused", flush=True)
sys.stdin.read()
"""


def other(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_claim_is_held_by_one_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "aa" / "key.claim"
    first = claim(path)
    assert first is not None
    assert claim(path) is None
    first.release()
    assert not path.exists()
    second = claim(path)
    assert second is not None
    first.release()  # Once released, it no longer touches what is now another's.
    assert path.exists()
    assert claim(path) is None
    second.release()


def test_a_claim_holds_against_other_processes_and_ends_with_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "key.claim"
    with other(path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert claim(path) is None
        holder.kill()
        holder.wait()
    mine = claim(path)
    assert mine is not None
    with other(path) as late:
        assert late.communicate(timeout=30)[0] == "refused\n"
    mine.release()


def test_where_locks_do_not_work_everyone_may_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    unlockable = claim(tmp_path / "file" / "key.claim")
    assert unlockable is not None
    unlockable.release()


def test_a_claim_closes_its_file(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(10):
        held = claim(tmp_path / "key.claim")
        assert held is not None
        assert claim(tmp_path / "key.claim") is None
        held.release()
    assert len(os.listdir("/dev/fd")) == before
