"""The Python client of the served door. It needs httpx and nothing heavier.

    with Client() as client:
        run = client.submit("text2music", {"tags": "lo-fi, piano", "duration": 10})
        for event in client.events(run.id):
            print(event.type, event.node, event.progress)
        client.fetch_output(run.id, "audio", Path("song.flac"))

Every call is safe to make again, and is made again while the server cannot be reached: a server that restarts in the
middle costs a pause.
"""

from acestep_flows.client.asynchronous import AsyncClient
from acestep_flows.client.records import Asset, Node, Output, Run, RunEvent
from acestep_flows.client.sync import Client

__all__ = ["Asset", "AsyncClient", "Client", "Node", "Output", "Run", "RunEvent"]
