"""Whose address a request has."""

import pytest

from headwater.domain.errors import BadInput
from headwater.domain.networks import client_of, networks_of

TRUSTED = networks_of(["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("10.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("::1", "[2001:db8::7]:443", "2001:db8::7"),
        ("10.0.0.1", "203.0.113.9:5000", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),
        (None, "203.0.113.9", None),
    ],
)
def test_only_a_trusted_proxy_is_believed(peer: str | None, forwarded: str | None, client: str | None) -> None:
    assert client_of(peer, forwarded, TRUSTED) == client


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_of("10.0.0.1", "203.0.113.9", ()) == "10.0.0.1"


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(BadInput, match=r"'10\.0\.0/33'"):
        networks_of(["10.0.0.0/8", "10.0.0/33"])
