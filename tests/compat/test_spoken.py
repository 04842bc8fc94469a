"""`--speak NAME[=PORT]`, and what a server says about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.api.options import COMPAT
from acestep_flows.api.server.options import IngressOptions, ServerOptions
from acestep_flows.compat.spoken import Spoken, families, family_path, read_spoken
from acestep_flows.errors import InputError
from tests.api.door import Door


def test_a_family_is_spoken_with_and_without_a_port() -> None:
    assert read_spoken(["v1"]) == (Spoken("v1"),)
    assert read_spoken(["v1=8000"]) == (Spoken("v1", 8000),)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["v3"], "--speak: no family 'v3' .allowed: .*v1"),
        (["v1=x"], "--speak: 'x' is not a port .allowed: v1=PORT, 0 to 65535."),
        (["v1=70000"], "is not a port"),
        (["v1="], "is not a port"),
        (["v1", "v1=8000"], "v1 given twice"),
        ([""], "no family"),
        (["../v1"], "no family"),
    ],
)
def test_what_cannot_be_spoken_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_spoken(texts)


def test_a_family_cannot_have_the_port_of_the_server(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--speak: 8777 is the port of --port .allowed: another port"):
        ServerOptions(host="127.0.0.1", port=8777, home=tmp_path, pool="auto", speak=("v1=8777",))
    ServerOptions(host="127.0.0.1", port=0, home=tmp_path, pool="auto", speak=("v1=0",))
    ServerOptions(host="192.0.2.1", port=8777, home=tmp_path, pool="auto", speak=("v1=8777",))


def test_an_ingress_has_no_ports() -> None:
    assert IngressOptions(speak=("v1",)).speak == ("v1",)
    with pytest.raises(ValueError, match="no ports"):
        IngressOptions(speak=("v1=8000",))


def test_the_root_of_the_server_says_what_is_spoken(door: Door) -> None:
    assert door.client.get("/").json()["speaks"] == {name: family_path(name) for name in families()}
    assert "for clients of another server" in door.client.get("/", headers={"Accept": "text/html"}).text


def test_bodies_of_families_have_their_own_limit() -> None:
    assert family_path("v1").startswith(COMPAT)


def test_pages_may_ask_for_what_clients_send(door: Door) -> None:
    """Only where the operator lets a page call at all."""
    answer = door.client.options(
        "/compat/v1/generate", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
    )
    assert "access-control-allow-origin" not in answer.headers
