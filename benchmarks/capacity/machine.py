"""A machine of the simulation: its cores and GPUs, the processes of its pool, and its server."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from acestep_flows.runtime.serving.pool import Pool, Process
from benchmarks.capacity.costs import FRAMES_PER_SECOND, Costs
from benchmarks.capacity.events import Activity, Cores, Signal, Simulation, Station
from benchmarks.capacity.mix import STEPS, Kind


@dataclass
class Shared:
    """What all servers share: the run table, which writes one run at a time."""

    table: Station


@dataclass
class _Song:
    """A song in an engine."""

    row_frames: float
    steps: int
    done: Signal


class Engine:
    """The step engine of a replica: all its songs advance together, as far as a pass has room."""

    def __init__(self, simulation: Simulation, device: Station | Cores, costs: Costs, pool: Pool, lanes: int) -> None:
        self._simulation, self._device, self._costs, self._lanes = simulation, device, costs, lanes
        self._tokens, self._places = pool.engine.tokens, Station(pool.engine.songs)
        self._songs, self._working = deque[_Song](), 0

    def sample(self, kind: Kind) -> Activity:
        """Take all steps of a song."""
        yield self._places.place()
        song = _Song(kind.rows * kind.seconds * FRAMES_PER_SECOND, kind.steps, Signal())
        self._songs.append(song)
        if self._working < self._lanes:
            self._working += 1
            self._simulation.begin(self._turns())
        yield song.done.fired()
        self._places.leave()

    def _turns(self) -> Activity:
        while self._songs:
            chosen = self._next()
            yield from self._device.use(self._costs.turn_of(sum(song.row_frames for song in chosen)))
            for song in chosen:
                song.steps -= 1
                if song.steps:
                    self._songs.append(song)
                else:
                    song.done.fire()
        self._working -= 1

    def _next(self) -> list[_Song]:
        """The songs of a turn: this lane's part of them, as many as fit, one at least."""
        most, tokens, chosen = math.ceil(len(self._songs) / self._lanes), 0.0, list[_Song]()
        while self._songs and len(chosen) < most:
            tokens += self._songs[0].row_frames
            if chosen and tokens > self._tokens:
                break
            chosen.append(self._songs.popleft())
        return chosen


class Replica:
    """A process of a pool."""

    def __init__(
        self, simulation: Simulation, pool: Pool, process: Process, device: Station | Cores, costs: Costs
    ) -> None:
        default = 1 if process.device == "cpu" else 2
        self._device, self._costs, self._workers = device, costs, Station(process.workers or default)
        self._engine = Engine(simulation, device, costs, pool, pool.lanes(process))
        self.calls = 0

    def call(self, stage: str, kind: Kind) -> Activity:
        """Do the work of a stage."""
        self.calls += 1
        if stage in STEPS:
            yield from self._engine.sample(kind)
        else:
            yield self._workers.place()
            yield from self._device.use(self._costs.stage(stage, kind.seconds))
            self._workers.leave()
        self.calls -= 1


@dataclass
class Gpu:
    """A GPU and the processes that share it. They take turns: a share of a GPU is not a fence."""

    station: Station = field(default_factory=Station)
    free: float = 1.0
    names: list[str] = field(default_factory=list)


class Machine:
    """A server with its pool on one machine.

    Args:
        cores: of the machine.
        shared: with the other machines.
    """

    def __init__(self, simulation: Simulation, pool: Pool, costs: Costs, cores: int, shared: Shared) -> None:
        self._simulation, self._costs, self._shared = simulation, costs, shared
        self.cores, self.http, self.link = Cores(simulation, cores, costs.company), Station(), Station()
        self.gpus: list[Gpu] = []
        self._running = Station(pool.limits.running)
        self._replicas: dict[str, list[Replica]] = {}
        for name, process in sorted(pool.processes.items(), key=lambda item: -item[1].gpus):
            devices = [self._device(name, process) for _ in range(process.most)]
            replicas = [Replica(simulation, pool, process, device, costs) for device in devices]
            self._replicas |= dict.fromkeys(process.stages, replicas)

    def _device(self, name: str, process: Process) -> Station | Cores:
        """The cores, or the first GPU that has room for another replica."""
        if process.device == "cpu":
            return self.cores
        gpu = next((gpu for gpu in self.gpus if gpu.free >= process.gpus - 1e-9), None)
        if gpu is None:
            gpu = Gpu()
            self.gpus.append(gpu)
        gpu.free -= process.gpus
        gpu.names.append(name)
        return gpu.station

    def _front(self, seconds: float) -> Activity:
        """Work of the HTTP process, which does one thing at a time, on one of the cores."""
        yield self.http.place()
        self.http.busy += seconds
        yield from self.cores.use(seconds)
        self.http.leave()

    def _overhead(self, share: float) -> Activity:
        """This share of the work that each call is for the HTTP process and for Ray's."""
        yield from self._front(share * self._costs.call)
        yield from self.cores.use(share * self._costs.other)

    def run(self, kind: Kind, ends: list[tuple[float, float]]) -> Activity:
        """One run, from its submission to its end, which is noted in `ends` with its latency."""
        accepted = self._simulation.now
        yield from self._front(self._costs.accept)
        yield from self._shared.table.use(self._costs.row / 2)
        yield self._running.place()
        done = {node: Signal() for node in kind.plan.nodes}
        for node in kind.plan.nodes.values():
            self._simulation.begin(self._node(node.stage, kind, [done[other] for other in node.needs()], done[node.id]))
        for signal in done.values():
            yield signal.fired()
        size = self._costs.audio_bytes * kind.seconds
        yield self._costs.object_store
        yield from self.link.use(size / self._costs.bytes_per_second)
        yield from self._shared.table.use(self._costs.row / 2)
        self._running.leave()
        ends.append((self._simulation.now, self._simulation.now - accepted))

    def _node(self, stage: str, kind: Kind, needs: list[Signal], done: Signal) -> Activity:
        for signal in needs:
            yield signal.fired()
        yield from self._overhead(1.0 - self._costs.beside)
        self._simulation.begin(self._overhead(self._costs.beside))
        yield self._costs.hop
        replica = min(self._replicas[stage], key=lambda one: one.calls)
        yield from replica.call(stage, kind)
        done.fire()
