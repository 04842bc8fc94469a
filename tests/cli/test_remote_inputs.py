"""Inputs on the command line for a run on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from acestep_flows.cli.remote_inputs import RemoteReader, types_in
from acestep_flows.client import Asset, Client, Run
from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.library import load
from acestep_flows.graph.views.schema import input_schema
from acestep_flows.stages.ports import PortType

RUN = "run-0123456789abcdef0123456789"
ASSET = "asset-0123456789abcdef0123456789"
AUDIO = PortType("audio")


class Remote:
    """A server that takes files and has one run."""

    def __init__(self) -> None:
        self.uploaded: list[Path] = []

    def upload_asset(self, path: Path) -> Asset:
        self.uploaded.append(path)
        return Asset(f"asset-{len(self.uploaded)}", "audio", "audio/wav", 1)

    def status(self, run: str) -> Run:
        output = {"url": "", "content_type": "", "bytes": 1, "asset": ASSET}
        return Run.read({"id": run, "graph": "g", "state": "succeeded", "outputs": {"latents": output}})


def test_files_go_up_and_what_is_there_is_named() -> None:
    remote = Remote()
    reader = RemoteReader(cast("Client", remote))
    types = {"a": AUDIO, "b": AUDIO, "c": PortType("latents"), "d": PortType("list", AUDIO), "n": PortType("int")}
    assignments = ["a=@song.wav", f"b={ASSET}", f"c={RUN}/latents", 'd=["song.wav", "b.wav"]', "n=3"]
    assert reader.inputs(assignments, types) == {
        "a": "asset-1",
        "b": ASSET,
        "c": ASSET,
        "d": ["asset-1", "asset-2"],
        "n": 3,
    }
    assert remote.uploaded == [Path("song.wav"), Path("b.wav")]
    with pytest.raises(NotFound, match="no output 'mel'; there are: latents"):
        reader.inputs([f"c={RUN}/mel"], types)
    for text in ("run-0/latents", "asset-0"):
        with pytest.raises(InputError, match="no id in it.*the id of an asset, RUN/OUTPUT"):
            reader.inputs([f"c={text}"], types)
    assert remote.uploaded == [Path("song.wav"), Path("b.wav")]


@pytest.mark.parametrize("name", ["text2music", "repaint", "lyric-chain", "stem-set", "best-of", "extend"])
def test_types_are_read_from_the_schema_of_a_shipped_graph(name: str) -> None:
    graph = load(name)
    found = types_in(input_schema(graph))
    assert {name: without_optional(kind) for name, kind in found.items()} == {
        name: without_optional(declared.type) for name, declared in graph.inputs.items()
    }


def without_optional(kind: PortType) -> Any:
    """What reading goes by: below the top, values are all the same to it, files."""
    item = None if kind.item is None else without_optional(kind.item)
    return (kind.kind, item, [(name, without_optional(part)) for name, part in kind.fields])
