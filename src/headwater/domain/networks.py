"""Whose address is it: trusted proxies and forwarded addresses."""

import ipaddress
from collections.abc import Iterable

from headwater.domain.errors import BadInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """`10.0.0.0/8`, `::1` … as networks. Raises BadInput naming the wrong one."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError as error:
            raise BadInput(
                f"expected an address or network such as 10.0.0.0/8, got {text!r}", code="BAD_NETWORK", value=text
            ) from error
    return tuple(found)


def address_of(text: str) -> Address | None:
    """An address as it stands in X-Forwarded-For: with port or brackets, or none at all."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def client_of(peer: str | None, forwarded: str | None, trusted: tuple[Network, ...]) -> str | None:
    """The address of the client: the peer, or, where that is a trusted proxy, the last hop that is not one.

    X-Forwarded-For is read from the right: what stands left of the first untrusted hop was written by strangers. A hop
    that is no address ends the walk at the hop before.
    """
    if peer is None or not trusted or not forwarded:
        return peer
    address = address_of(peer)
    if address is None or not is_within(address, trusted):
        return peer
    for hop in reversed(forwarded.split(",")):
        found = address_of(hop)
        if found is None:
            break
        address = found
        if not is_within(address, trusted):
            break
    return str(address)
