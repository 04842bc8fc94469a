"""The Python client of a server. It needs httpx2 and nothing heavier.

    with Client() as client:
        run = client.submit("text2music", {"tags": "lo-fi, piano", "duration": 10})
        for event in client.events(run.id):
            print(event.type, event.node, event.progress)
        client.fetch_output(run.id, "audio", Path("song.flac"))

Every call is safe to repeat, and is repeated while the server cannot be reached or is busy, so a restart of the server
causes only a pause. This package must never know how a server works inside; it knows URLs, JSON and the error tree.
Begin with `calls` (what can be asked), then `sync.Client` (how it is sent) and `connection` (what both clients share).
"""

from acestep_flows.client.asynchronous import AsyncClient
from acestep_flows.client.operator_records import (
    AuditedAction,
    KeyAccount,
    KeyUsage,
    QueueHold,
    QueueServer,
    QueueState,
)
from acestep_flows.client.records import Asset, Node, NumberedRunEvent, Output, Run, RunEvent
from acestep_flows.client.sync import Client

__all__ = [
    "Asset",
    "AsyncClient",
    "AuditedAction",
    "Client",
    "KeyAccount",
    "KeyUsage",
    "Node",
    "NumberedRunEvent",
    "Output",
    "QueueHold",
    "QueueServer",
    "QueueState",
    "Run",
    "RunEvent",
]
