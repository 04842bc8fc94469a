"""Signatures of webhooks: those of Standard Webhooks for its secrets, and the same scheme for other secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from acestep_flows.api.execution.webhook_signature import sign, signing_key
from acestep_flows.api.http.app import create_app
from acestep_flows.api.service import Service
from acestep_flows.api.store.home import Home
from acestep_flows.errors import InputError
from tests.api.store.with_tables import home_with_tables

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""The vector of the scheme's own libraries."""


def test_the_published_vector() -> None:
    assert sign(SECRET, *MESSAGE) == SIGNATURE


def test_a_secret_is_the_base64_of_its_key() -> None:
    key = bytes(range(30))
    for text in (base64.b64encode(key).decode(), base64.b64encode(key).decode().rstrip("=")):
        assert signing_key("whsec_" + text) == key


def test_any_other_secret_is_its_own_key() -> None:
    id, timestamp, body = MESSAGE
    expected = hmac.new("a s\u00e9cret".encode(), f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    assert sign("a s\u00e9cret", *MESSAGE) == "v1," + base64.b64encode(expected).decode()


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_\u00e9", "whsec_abc*", "whsec_a"])
def test_a_damaged_secret_is_refused_at_the_start_and_not_shown(secret: str, tmp_path: Path) -> None:
    home = Home.open(home_with_tables(tmp_path))
    with pytest.raises(InputError, match="ACESTEP_FLOWS_WEBHOOK_SECRET: not a secret") as caught:
        create_app(Service(home, webhook_secret=secret))
    assert secret.removeprefix("whsec_") == "" or secret not in str(caught.value)
    home.close()
