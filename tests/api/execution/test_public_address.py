"""Public addresses: the registries of IANA, whatever this Python's `ipaddress` knows of them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from acestep_flows.api.execution import public_address
from acestep_flows.api.execution.public_address import SPECIAL_IPV4, SPECIAL_IPV6, is_public

IPV4_REGISTRY = [
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/31",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16",
    "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32",
    "224.0.0.0/4",
]  # fmt: skip
"""IANA's special-purpose blocks for IPv4, one entry for each of theirs, and multicast."""

IPV6_REGISTRY = [
    "::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32", "2001:1::1/128",
    "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28",
    "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16",
    "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
"""The same for IPv6, without the two blocks whose IPv4 part is judged: ::ffff:0:0/96 and 64:ff9b::/96."""


@pytest.mark.parametrize("block", IPV4_REGISTRY + IPV6_REGISTRY)
def test_every_special_block_is_refused_from_end_to_end(block: str) -> None:
    network = ipaddress.ip_network(block)
    middle = network[network.num_addresses // 2]
    assert not any(is_public(str(address)) for address in (network[0], middle, network[-1]))


@pytest.mark.parametrize("block", IPV4_REGISTRY)
@pytest.mark.parametrize("form", ["::ffff:0:0", "64:ff9b::", "2a00:1450::5efe:0:0", "2a00:1450::200:5efe:0:0",
                                  "::", "2002::", "::ffff:0:0:0"])  # fmt: skip
def test_an_embedded_ipv4_address_is_as_private_as_itself(block: str, form: str) -> None:
    inner = int(ipaddress.ip_network(block)[1 if "/32" not in block else 0])
    address = ipaddress.IPv6Address(int(ipaddress.IPv6Address(form)) | inner << (80 if form == "2002::" else 0))
    assert not is_public(str(address))


@pytest.mark.parametrize(
    "address",
    ["9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
     "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
     "198.20.0.0", "223.255.255.255", "2001:200::", "2001:db7::", "2003::", "2620:4f:7fff::1", "2620:4f:8001::",
     "3ffd:ffff::1", "::ffff:9.9.9.9", "64:ff9b::9.9.9.9", "2a00:1450::5efe:909:909"],
)  # fmt: skip
def test_the_neighbours_of_special_blocks_are_public(address: str) -> None:
    assert is_public(address)


def test_what_ipaddress_calls_private_is_private_here() -> None:
    """On each Python that runs this: ours knows at least as much."""
    theirs = [*ipaddress._IPv4Constants._private_networks, *ipaddress._IPv6Constants._private_networks]  # type: ignore[attr-defined]
    judged_by_their_part = {ipaddress.ip_network("::ffff:0:0/96")}
    for network in theirs:
        if network not in judged_by_their_part:
            assert not is_public(str(network[0])), network
            assert not is_public(str(network[-1])), network


def test_nothing_is_asked_of_ipaddress_but_arithmetic() -> None:
    """Its own judgement differs between Pythons."""
    source = Path(public_address.__file__).read_text(encoding="utf-8")
    for judgement in (
        "is_global",
        "is_private",
        "is_reserved",
        "is_multicast",
        "is_link_local",
        "ipv4_mapped",
        "teredo",
    ):
        assert judgement not in source


def test_the_tables_have_no_block_twice() -> None:
    for table in (SPECIAL_IPV4, SPECIAL_IPV6):
        assert not [(a, b) for a in table for b in table if a is not b and a.overlaps(b)]


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4/32", "12345::1::"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        is_public(text)
