"""Decoding in a child process: stopped when it takes too long or too much, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest

from acestep_flows.audio import decoder_process, decoding, read
from acestep_flows.audio.containers.pieces import whole
from acestep_flows.errors import FlowsError, InputError
from tests.audio.files import ENDLESS, encoded
from tests.audio.signals import RATE, noise


def decoded(content: bytes, at_block: Callable[[int], None] = lambda number: None) -> int:
    """The samples of each channel that are decoded from a file as it is."""
    file, samples = BytesIO(content), 0
    with decoding.decoding(file, whole(file)) as decoder:
        for number, block in enumerate(decoder.blocks()):
            at_block(number)
            samples += len(block)
    return samples


def children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [child for child in found if child.is_running() and decoding.MODULE in " ".join(child.cmdline())]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    decoding._decoders.end()


def test_one_process_serves_file_after_file() -> None:
    song = encoded(noise(2, 1_000))
    assert decoded(song) == 1_000
    first = [child.pid for child in children()]
    assert len(first) == 1
    for _ in range(3):
        assert read.audio(song).samples.shape == (2, 1_000)
        with pytest.raises(decoding.DecodingError):
            decoded(b"no audio at all" * 10)
        with pytest.raises(InputError, match="0 s long"):
            read.audio(song, longest=0.001)
    assert [child.pid for child in children()] == first


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="no limits to look at")
def test_the_memory_of_a_process_is_limited() -> None:
    decoded(encoded(noise(2, 1_000)))
    assert children()[0].rlimit(psutil.RLIMIT_AS) == (decoder_process.MEMORY_BYTES, decoder_process.MEMORY_BYTES)
    assert children()[0].memory_info().vms < decoder_process.MEMORY_BYTES / 2


def test_decoding_that_does_not_end_is_stopped_and_the_next_file_is_read() -> None:
    with pytest.raises(decoding.DecodingError, match="does not come to an end"):
        decoded(ENDLESS)
    assert children() == []
    assert decoded(encoded(noise(2, 1_000))) == 1_000


def test_a_process_that_dies_is_an_error_of_the_file() -> None:
    song = encoded(noise(2, 10 * RATE))

    def kill(number: int) -> None:
        if number == 1:
            children()[0].send_signal(signal.SIGKILL)

    with pytest.raises(decoding.DecodingError, match="crash"):
        decoded(song, kill)
    assert decoded(song) == 10 * RATE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_idle_process_that_somebody_killed_is_replaced(number: signal.Signals) -> None:
    """Ray, when it stops, kills all children of its process."""
    song = encoded(noise(2, 1_000))
    assert decoded(song) == 1_000
    (idle,) = children()
    idle.send_signal(number)
    while idle.is_running() and idle.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert decoded(song) == 1_000
    assert idle.pid not in [child.pid for child in children()]


def test_a_reader_that_gives_up_leaves_no_half_used_process() -> None:
    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded(encoded(noise(2, 10 * RATE)), interrupt)
    assert children() == []
    assert decoded(encoded(noise(2, 1_000))) == 1_000


def test_threads_decode_side_by_side_and_one_process_stays() -> None:
    songs = {size: encoded(noise(2, size)) for size in range(10_000, 90_000, 10_000)}
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(decoded, songs.values())) == list(songs)
    assert len(children()) == 1


def test_a_hanging_file_does_not_hold_up_others() -> None:
    done: list[float] = []

    def hang() -> None:
        with pytest.raises(decoding.DecodingError):
            decoded(ENDLESS)
        done.append(time.monotonic())

    thread = threading.Thread(target=hang)
    thread.start()
    assert decoded(encoded(noise(2, 1_000))) == 1_000
    assert not done
    thread.join()


def test_a_forked_process_has_decoders_of_its_own() -> None:
    song = encoded(noise(2, 1_000))
    decoded(song)
    before = [child.pid for child in children()]
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if decoded(song) == 1_000 and children()[0].pid not in before else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert decoded(song) == 1_000
    assert [child.pid for child in children()] == before


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(encoded(noise(2, 1_000)))
    script = (
        "import os, sys, psutil\nfrom acestep_flows.audio import read\n"
        "read.audio(sys.argv[1])\nprint(psutil.Process().children()[0].pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(song)], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    pid, until = int(ended.stdout), time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_decoder_that_cannot_start_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MODULE", "acestep_flows.audio.no_such_module")
    with pytest.raises(FlowsError, match="decoder does not start") as caught:
        read.audio(encoded(noise(2, 100)))
    assert not isinstance(caught.value, InputError)


def test_reading_does_not_start_a_process_before_it_is_needed() -> None:
    script = "import psutil\nfrom acestep_flows.audio import read\nassert not psutil.Process().children()\n"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_describing_a_long_file_takes_no_memory(tmp_path: Path) -> None:
    song = tmp_path / "song.flac"
    song.write_bytes(encoded(np.zeros((2, 600 * 48_000), np.float32), "FLAC"))  # 230 MB decoded
    script = (
        "import resource, sys\nfrom acestep_flows.audio import read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(read.describe(sys.argv[1]).seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    out = subprocess.run([sys.executable, "-c", script, str(song)], capture_output=True, text=True, check=True).stdout
    seconds, grown = out.split()
    assert float(seconds) == 600
    assert int(grown) < 40_000  # kilobytes


def test_reading_keeps_one_copy(tmp_path: Path) -> None:
    song = tmp_path / "song.flac"
    song.write_bytes(encoded(np.zeros((2, 600 * 48_000), np.float32), "FLAC"))
    script = (
        "import resource, sys\nfrom acestep_flows.audio import read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nsong = read.audio(sys.argv[1])\n"
        "print(song.samples.nbytes >> 10, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    out = subprocess.run([sys.executable, "-c", script, str(song)], capture_output=True, text=True, check=True).stdout
    size, grown = map(int, out.split())
    assert grown < 1.4 * size  # the check for finite samples takes a quarter
