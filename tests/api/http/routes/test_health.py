"""Liveness and readiness."""

from __future__ import annotations

from pathlib import Path

from acestep_flows import __version__
from acestep_flows.api.options import ApiOptions
from acestep_flows.errors import StorageError
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened


def test_health_and_readiness(door: Door) -> None:
    assert door.client.get("/healthz").json() == {"status": "ok", "version": __version__}
    assert [door.client.head(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    assert door.client.get("/readyz").json() == {"ready": True, "reason": ""}


def test_a_server_that_is_not_ready_says_why(strict: Checkpoint, tmp_path: Path) -> None:
    reasons = [f"loading {tmp_path}/weights"]
    with opened(tmp_path, strict, executing=False, ready=lambda: reasons[0]) as door:
        response = door.client.get("/readyz")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json() == {"ready": False, "reason": "loading <server>/weights"}
        reasons[0] = ""
        assert door.client.get("/readyz").status_code == 200


def test_a_table_that_is_gone_is_not_ready(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, executing=False) as door:

        def fail() -> None:
            raise StorageError(f"{tmp_path}/runs.sqlite: gone")

        object.__setattr__(door.home.runs, "counts", fail)
        assert door.client.get("/readyz").json()["ready"] is False
        response = door.client.get("/v1/stats")
        assert response.status_code == 507
        assert str(tmp_path) not in response.text


def test_stats(door: Door) -> None:
    stats = door.client.get("/v1/stats").json()
    assert set(stats["runs"]) == {"queued", "running", "succeeded", "failed", "cancelled"}
    assert stats["queue_limit"] == 1000


def test_unknown_routes_and_methods_have_the_form_of_all_errors(door: Door) -> None:
    for method, path, status, code in (
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/runs", 405, "method_not_allowed"),
        ("GET", "/%2e%2e/etc/passwd", 404, "not_found"),
    ):
        response = door.client.request(method, path)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_browsers_may_call_from_the_origins_named(strict: Checkpoint, tmp_path: Path) -> None:
    options = ApiOptions(origins=("https://studio.example",))
    with opened(tmp_path, strict, options=options, executing=False) as door:
        asking = {"Origin": "https://studio.example", "Access-Control-Request-Method": "POST"}
        allowed = door.client.options("/v1/runs", headers=asking)
        assert allowed.headers["access-control-allow-origin"] == "https://studio.example"
        other = door.client.options("/v1/runs", headers=asking | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        assert (
            "x-run-id" in door.client.get("/healthz", headers=asking).headers["access-control-expose-headers"].lower()
        )


def test_without_origins_no_page_of_elsewhere_may_call(door: Door) -> None:
    response = door.client.get("/healthz", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in response.headers
