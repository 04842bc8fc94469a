"""Options and markers of the whole suite."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from acestep_flows.model import kept_choice
from acestep_flows.settings import PRODUCTS
from tests import workers
from tests.shared_ray import SharedRay

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from benchmarks.fault_services import ObjectStore

# No time limit for an example: on a busy machine it says nothing. Where CI is set, Hypothesis does the same.
settings.register_profile("busy", settings(), deadline=None)
settings.load_profile("busy")


class PlainWays(kept_choice._Choices):
    """Songs that are compared bit by bit are made one way in every process, whatever a busy machine would measure."""

    def choose(self, name: str, ways: Sequence[str], measure: Callable[[], str]) -> str:
        return ways[0]


kept_choice._choices = PlainWays()
os.environ[PRODUCTS] = "torch"  # for processes that tests start

DEFAULT_REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


@pytest.fixture(autouse=True)
def own_log_handlers() -> Iterator[None]:
    """A command shows our log on stderr for the rest of its process; the next test is as good as another process."""
    loggers = [logging.getLogger(name) for name in ("acestep_flows", "acestep_flows.session.planned_run")]
    before = [(list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--moto",
        default=None,
        metavar="PROGRAM",
        help="moto's server, for tests with an object store; by default that of this environment, and without one they "
        "are skipped",
    )
    parser.addoption(
        "--reference",
        type=Path,
        default=DEFAULT_REFERENCE,
        metavar="DIR",
        help="folder with the reference checkpoint and goldens; tests that need it skip without it",
    )


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until everything is collected, which is kept to the end
    config.addinivalue_line("markers", "parity: compares with recorded numbers of the original")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs are begun, and what they begin
        signal.signal(signal.SIGINT, signal.default_int_handler)
    workers.one_thread()
    workers.keep_compiled()
    # The hub's cache of whoever runs the tests is neither read nor written: also not by processes that tests start.
    os.environ["HF_HUB_CACHE"] = tempfile.mkdtemp(prefix="acestep-flows-hub-")


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["HF_HUB_CACHE"], ignore_errors=True)


def pytest_collection_finish() -> None:
    """Modules and five thousand tests stay: to look through them for garbage again and again takes its time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _is_worker(config):
        items.sort(key=workers.turn)


@pytest.hookimpl(optionalhook=True)  # with -p no:xdist there is no such hook
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> workers.Shares:
    config.option.loadscopereorder = False  # by the number of tests, which says little of their time
    return workers.Shares(config, log)


SHARED_RAY = SharedRay()


@pytest.fixture(scope="module")
def ray_cluster() -> str:
    """Ray, Ray Data and Serve for whoever asks; gives the address of its HTTP."""
    pytest.importorskip("ray.data")
    return SHARED_RAY.address()


@pytest.fixture(scope="module")
def object_store(pytestconfig: pytest.Config) -> Iterator[ObjectStore]:
    """An S3-compatible store, where moto is installed."""
    from benchmarks.fault_services import MOTO, Missing, ObjectStore

    try:
        running = ObjectStore(pytestconfig.getoption("--moto") or MOTO)
    except Missing as missing:
        assert not os.environ.get("CI"), "continuous integration installs moto"
        pytest.skip(str(missing))
    yield running
    running.close()


@pytest.hookimpl(trylast=True)  # when fixtures have taken down what they had on it
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is None or workers.share(nextitem.nodeid) != workers.share(item.nodeid):
        SHARED_RAY.end()


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete small checkpoint with random weights, an adapter and two control branches."""
    import torch

    from acestep_flows.model.adapter_file import LowRank
    from acestep_flows.model.adapter_scaling import Scaling
    from acestep_flows.model.adapters import Adapter
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.control import ControlBranch
    from acestep_flows.model.placement import Placement
    from acestep_flows.model.transformer import Transformer
    from acestep_flows.testing.random_checkpoint import SMALL, write_random_checkpoint

    root = tmp_path_factory.mktemp("small")
    write_random_checkpoint(root, SMALL, seed=1)
    generator = torch.Generator().manual_seed(2)
    width = SMALL.heads * SMALL.head_dim
    names = [f"transformer_blocks.{block}.attn.to_q" for block in range(SMALL.blocks)]
    layers = {
        name: LowRank(*(0.3 * torch.randn(shape, generator=generator) for shape in ((2, width), (width, 2))))
        for name in names
    }
    lyric = "lyric_encoder.encoders.0.self_attn.linear_q"
    layers[lyric] = LowRank(*(torch.randn(shape, generator=generator) for shape in ((2, 64), (64, 2))))
    Adapter(layers, Scaling(lora_alpha=2.0)).save(root / "adapters" / "voice")
    transformer = Transformer.load(Checkpoint.open(root), Placement())
    for name in ("stemgen", "singing2accompaniment"):
        branch = ControlBranch.untrained(transformer.proj_in)
        torch.nn.init.constant_(branch.gain, 0.5)
        branch.save(root / "controls" / name)
    return root


@pytest.fixture(scope="session")
def small(small_root: Path) -> Checkpoint:
    """The small checkpoint, opened."""
    from acestep_flows.model.checkpoint import Checkpoint

    return Checkpoint.open(small_root)
