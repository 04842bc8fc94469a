"""API keys: stored as digests, compared in constant time, each with its limits."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.http.keys import Key, Keyring, add_key, check_host, digest_of, is_loopback, new_key, read_keys
from acestep_flows.errors import InputError, RateLimited, StorageError, Unauthorized
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.settings import read_settings
from tests.api.door import SHORT, opened


def test_a_key_is_kept_as_its_digest_only() -> None:
    secret, key = new_key("alice")
    assert key.sha256 == hashlib.sha256(secret.encode()).hexdigest() == digest_of(secret)
    assert secret not in repr(Keyring([key])) + key.model_dump_json()
    assert Keyring([key]).admit(secret) == key
    assert new_key("alice")[0] != secret


@pytest.mark.parametrize("presented", [None, "", "af_", "x" * 10_000, "\ud800", "K\u00e9y"])
def test_other_keys_are_refused(presented: str | None) -> None:
    with pytest.raises(Unauthorized):
        Keyring([new_key("alice")[1]]).admit(presented)


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [new_key(name) for name in ("a", "b", "c")]
    compared: list[str] = []
    real = hmac.compare_digest

    def compare(digest: str, presented: str) -> bool:
        compared.append(digest)
        return real(digest, presented)

    monkeypatch.setattr("acestep_flows.api.http.keys.hmac.compare_digest", compare)
    Keyring([key for _, key in keys]).admit(keys[0][0])
    assert compared == [key.sha256 for _, key in keys]


def test_a_key_has_its_rate() -> None:
    secret, key = new_key("alice")
    other, second = new_key("bob")
    keyring = Keyring([key.model_copy(update={"requests_per_minute": 2}), second])
    keyring.admit(secret)
    keyring.admit(secret)
    with pytest.raises(RateLimited) as caught:
        keyring.admit(secret)
    assert 0 < caught.value.retry_after <= 30
    assert keyring.admit(other) == second


def test_without_keys_everybody_on_this_machine_may() -> None:
    assert not Keyring()
    assert Keyring().admit(None) is None


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("example.org", False), ("", False)],
)  # fmt: skip
def test_without_keys_only_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    check_host(host, Keyring([new_key("a")[1]]))
    if loopback:
        check_host(host, Keyring())
    else:
        with pytest.raises(InputError, match="without API keys"):
            check_host(host, Keyring())


def test_keys_come_from_the_environment_and_a_file(tmp_path: Path) -> None:
    secret, key = new_key("carol")
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [key.model_dump() | {"runs": 2}]}))
    environ = {
        "ACESTEP_FLOWS_API_KEYS": "alice=0123456789abcdef, bob=fedcba9876543210",
        "ACESTEP_FLOWS_API_KEY_FILE": str(file),
    }
    settings = read_settings(environ)
    assert "0123456789abcdef" not in repr(settings)
    keyring = read_keys(settings)
    assert [key.name for key in keyring.keys] == ["alice", "bob", "carol"]
    bob = keyring.admit("fedcba9876543210")
    assert bob is not None
    assert bob.name == "bob"
    assert keyring.admit(secret) == key.model_copy(update={"runs": 2})
    assert not read_keys(read_settings({}))


def test_keys_of_the_environment_may_have_limits() -> None:
    text = "alice=0123456789abcdef runs=2,bob = fedcba9876543210 runs = 3  requests_per_minute=1,carol=aaaabbbbccccdd=="
    keyring = read_keys(read_settings({"ACESTEP_FLOWS_API_KEYS": text}))
    assert [(key.name, key.requests_per_minute, key.runs) for key in keyring.keys] == [
        ("alice", 600, 2),
        ("bob", 1, 3),
        ("carol", 600, None),
    ]
    assert keyring.admit("aaaabbbbccccdd==") is not None
    assert keyring.admit("fedcba9876543210") is not None
    with pytest.raises(RateLimited):
        keyring.admit("fedcba9876543210")


@pytest.mark.parametrize(
    "text",
    ["alice", "alice=short", "=0123456789abcdef", "a b=0123456789abcdef", "a=0123456789abcdef,a=fedcba9876543210",
     "a=0123456789abcdef runs", "a=0123456789abcdef runs=", "a=0123456789abcdef runs=0", "a=0123456789abcdef runs=1.5",
     "a=0123456789abcdef runs=1 runs=2", "a=0123456789abcdef sha256=1", "a=0123456789abcdef name=1",
     "a=fedcba9876543210 0123456789abcdef", "a=fedcba9876543210 0123456789abcdef=1",
     "a=fedcba9876543210 runs=0123456789abcdef"],
)  # fmt: skip
def test_an_unusable_variable_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_keys(read_settings({"ACESTEP_FLOWS_API_KEYS": text}))
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("alice", "entry 1: not NAME=KEY"),
        ("alice=KEY runs=2", "entry 1: its key is shorter than 16 characters"),
        ("a=0123456789abcdef, b=0123,456789abcdef", "entry 2: its key is shorter than 16 characters"),
    ],
)
def test_an_unusable_entry_is_named_by_its_place(text: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        read_keys(read_settings({"ACESTEP_FLOWS_API_KEYS": text}))
    assert str(caught.value).startswith(f"ACESTEP_FLOWS_API_KEYS: {what} (allowed: NAME=KEY, ")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", '{"keys": [{"name": "a", "key": "in the open"}]}', '{"keys": [{"name": "a", "sha256": "x"}]}',
     '{"keys": [], "more": 1}', "[" * 10_000],
)  # fmt: skip
def test_an_unusable_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        read_keys(read_settings({"ACESTEP_FLOWS_API_KEY_FILE": str(file)}))
    assert "in the open" not in str(caught.value)
    with pytest.raises(InputError):
        read_keys(read_settings({"ACESTEP_FLOWS_API_KEY_FILE": str(tmp_path / "none")}))


def test_a_key_is_made_and_its_digest_is_appended(tmp_path: Path) -> None:
    file = tmp_path / "made" / "keys.json"
    secrets = [add_key(file, "alice"), add_key(file, "bob", requests_per_minute=60, runs=2)]
    assert file.stat().st_mode & 0o777 == 0o600
    assert not any(secret in file.read_text() for secret in secrets)
    keyring = read_keys(read_settings({"ACESTEP_FLOWS_API_KEY_FILE": str(file)}))
    alice, bob = (keyring.admit(secret) for secret in secrets)
    assert alice is not None
    assert bob is not None
    assert (alice.name, alice.requests_per_minute, alice.runs) == ("alice", 600, None)
    assert (bob.name, bob.requests_per_minute, bob.runs) == ("bob", 60, 2)


@pytest.mark.parametrize(
    ("content", "name", "limits"),
    [(None, "a b", {}), (None, "../x", {}), (None, "", {}), (None, "new", {"runs": 0}), ("{", "new", {}),
     ("", "new", {}), ('{"keys": [{"name": "old", "sha256": "' + "0" * 64 + '"}]}', "old", {})],
)  # fmt: skip
def test_a_failed_key_changes_no_file(tmp_path: Path, content: str | None, name: str, limits: dict[str, int]) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError):
        add_key(file, name, **limits)
    assert (file.read_text() if file.exists() else None) == content


def test_a_key_file_keeps_its_owner_and_a_link_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "keys.json", tmp_path / "link.json"
    add_key(file, "alice")
    link.symlink_to(file)
    if os.geteuid() == 0:
        os.chown(file, 65_534, 65_534)
    before = file.stat()
    add_key(link, "bob")
    assert link.is_symlink()
    after = file.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert len(json.loads(file.read_text())["keys"]) == 2


def test_keys_made_concurrently_are_all_stored(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    names = [f"caller{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda name: add_key(file, name), names))
    assert sorted(key["name"] for key in json.loads(file.read_text())["keys"]) == sorted(names)


def test_an_unwritable_key_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        add_key(tmp_path / "file" / "keys.json", "alice")


def test_a_server_with_keys_asks_for_them(strict: Checkpoint, tmp_path: Path) -> None:
    secret, key = new_key("alice")
    busy, limited = new_key("busy")
    slow, rated = new_key("slow")
    keys = Keyring([key, limited.model_copy(update={"runs": 1}), rated.model_copy(update={"requests_per_minute": 1})])
    with opened(tmp_path, strict, keys=keys, executing=False) as door:
        client = door.client
        for path in ("/v1/graphs", "/v1/runs", "/v1/stats", "/metrics"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.json()["error"]["code"] == "unauthorized"
            assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.post("/v1/runs", json={"graph": "text2music", "inputs": dict(SHORT)}).status_code == 401
        assert client.post("/v1/assets", content=b"x").status_code == 401
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200
        for headers in ({"Authorization": f"Bearer {secret}"}, {"X-API-Key": secret}):
            assert client.get("/v1/runs", headers=headers).status_code == 200
        body: dict[str, Any] = {"graph": "text2music", "inputs": dict(SHORT)}
        theirs = {"X-API-Key": busy}
        assert client.post("/v1/runs", json=body, headers=theirs).status_code == 202
        second = client.post("/v1/runs", json=body, headers=theirs)
        assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limited")
        assert second.json()["error"]["limit"] == "runs"
        assert int(second.headers["retry-after"]) >= 1
        assert client.post("/v1/runs", json=body, headers={"X-API-Key": secret}).status_code == 202
        assert client.get("/v1/runs", headers={"X-API-Key": slow}).status_code == 200
        limited_answer = client.get("/v1/runs", headers={"X-API-Key": slow})
        assert (limited_answer.status_code, limited_answer.json()["error"]["code"]) == (429, "rate_limited")
        assert limited_answer.json()["error"]["limit"] == "requests_per_minute"
        assert int(limited_answer.headers["retry-after"]) > 1


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        Keyring([Key(name="a", sha256="0" * 64), Key(name="a", sha256="1" * 64)])


def test_a_key_of_an_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    add_key(path, "alice")
    add_key(path, "prometheus", operator=True)
    monkeypatch.setenv("ACESTEP_FLOWS_API_KEY_FILE", str(path))
    monkeypatch.setenv("ACESTEP_FLOWS_API_KEYS", f"bob={'b' * 20}, carol={'c' * 20} operator=1 runs=3")
    keyring = read_keys(read_settings())
    assert {key.name: key.operator for key in keyring.keys} == {
        "alice": False, "prometheus": True, "bob": False, "carol": True,
    }  # fmt: skip
    assert keyring.are_several
    assert not Keyring(keyring.keys[:1]).are_several
    monkeypatch.setenv("ACESTEP_FLOWS_API_KEYS", f"bob={'b' * 20} operator=2")
    with pytest.raises(InputError, match="operator=1"):
        read_keys(read_settings())
