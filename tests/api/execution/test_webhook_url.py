"""URLs of webhooks: what is refused, and which addresses are public."""

from __future__ import annotations

import pytest

from acestep_flows.api.execution.public_address import is_public
from acestep_flows.api.execution.webhook_url import check_url
from acestep_flows.errors import InputError

SECRET = "a secret of the server"


URL = "https://hooks.example/a?b=c"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "::a00:1", "::101:101", "fec0::1",
     "64:ff9b:1::7f00:1", "64:ff9b:1::101:101", "::ffff:0:7f00:1", "5f00::1", "3fff::1", "2001:db8::1", "100::1"],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example", "ftp://hooks.example", "file:///etc/passwd", "http://", "https://user:word@hooks.example",
     "http://127.0.0.1/", "http://[::1]:80/", "http://localhost:8777/", "http://db.internal/", "http://169.254.169.254/x",
     "https://" + "a" * 3000, "http://a b/", "javascript:alert(1)", "http://[x]/", "http://hooks.example:99999999/",
     f"http://{'a' * 64}.example/", "http://hooks..example/", "http://.example/", "http://localhost./",
     "http://LOCALHOST/", "http://db.internal./", "http://127.1/", "http://0x7f.1/", "http://2130706433/", "http://0/",
     "http://0177.0.0.1/", "http://10.1/", "http://127.0.0.1./", "http://4294967296/", "http://1.2.3.4.5/",
     "http://[::ffff:10.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://\uff11\uff12\uff17.0.0.1/", "http://nas.home.arpa/",
     "http://printer.local/", "http://192.0.0.9/", "http://[2001:1::1]/"],
)  # fmt: skip
def test_unusable_urls_are_refused(url: str) -> None:
    with pytest.raises(InputError):
        check_url(url, SECRET, private=False)


def test_webhooks_are_refused_without_a_secret() -> None:
    with pytest.raises(InputError, match="WEBHOOK_SECRET"):
        check_url(URL, None, private=False)
    assert check_url(URL, SECRET, private=False).host == "hooks.example"
    assert check_url("http://127.0.0.1:1/", SECRET, private=True).port == 1
    with pytest.raises(InputError, match="a private address .* unless the operator .* --private-webhooks"):
        check_url("http://127.0.0.1:1/", SECRET, private=False)
    assert check_url(f"http://{'a' * 63}.example./", SECRET, private=False).host == f"{'a' * 63}.example."
