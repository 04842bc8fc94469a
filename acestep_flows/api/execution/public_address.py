"""Which IP addresses are on the public internet.

The tables are our own, because `ipaddress` of one Python knows other registries than that of the next. They hold every
block of IANA's special-purpose registries (RFC 6890 and its updates, as of October 2025). That includes those that IANA
calls globally reachable: they are relays, sinks and anycast services, never the receiver of a webhook.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

SPECIAL_IPV4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # shared address space of carriers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link local, and the metadata services of clouds
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # IETF protocol assignments: DS-Lite, PCP and TURN anycast, NAT64 discovery
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relay anycast, deprecated
        "192.168.0.0/16",  # private use
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the limited broadcast
    )
)

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The IPv6 addresses that IANA allocates from. Everything else is local or reserved, or embeds IPv4 addresses."""

SPECIAL_IPV6 = tuple(
    IPv6Network(block)
    for block in (
        "::/8",  # unspecified, loopback, IPv4-compatible, IPv4-translated, local-use NAT64
        "100::/64",  # discard only
        "100:0:0:1::/64",  # dummy prefix
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking, AMT, AS112, anycast
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone, returned
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local
        "fe80::/10",  # link local
        "fec0::/10",  # site local, deprecated
        "ff00::/8",  # multicast
    )
)

IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
ISATAP = (0x00005EFE, 0x02005EFE)
"""The upper half of an interface identifier whose lower half is the IPv4 address of a tunnel's end."""


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet.

    An IPv4 address that an IPv6 address stands for (mapped, NAT64) or leads to (ISATAP) is judged itself.

    Raises:
        ValueError: it is not an IP address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return _is_public_ipv4(ip)
    if ip in IPV4_MAPPED or ip in NAT64:
        return _is_public_ipv4(_last_bits(ip))
    if ip not in GLOBAL_UNICAST or any(ip in block for block in SPECIAL_IPV6):
        return False
    return (int(ip) >> 32) & 0xFFFFFFFF not in ISATAP or _is_public_ipv4(_last_bits(ip))


def _is_public_ipv4(ip: IPv4Address) -> bool:
    return not any(ip in block for block in SPECIAL_IPV4)


def _last_bits(ip: IPv6Address) -> IPv4Address:
    return IPv4Address(int(ip) & 0xFFFFFFFF)
