"""Who a client is, where trusted proxies say it: X-Forwarded-For, walked from our end.

Each proxy appends the address that it was asked from, so only the part of the list that our own
proxies wrote can be believed: the client is the last address that isn't a trusted proxy's. What
stands before it, a client may have made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import numpy as np

from messages import UInt64s
from operators.codes import TextCodes, combine

Address = IPv4Address | IPv6Address


class Networks:
    """A set of networks, asked in a time that doesn't grow with their number.

    Args:
        networks: As `10.0.0.0/8`, `2001:db8::/32` or `203.0.113.7`.

    Raises:
        ValueError: One isn't a network.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: dict[tuple[int, int], set[int]] = {}  # by version and host bits
        for network in map(ip_network, networks):
            bits = network.max_prefixlen - network.prefixlen
            known = self._networks.setdefault((network.version, bits), set())
            known.add(int(network.network_address) >> bits)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: object) -> bool:
        """Tell whether an address lies in one of them; IPv4 written as IPv6 does, too."""
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        if not isinstance(address, IPv4Address | IPv6Address):
            return False
        number, version = int(address), address.version
        return any(
            version == of and number >> bits in known
            for (of, bits), known in self._networks.items()
        )


class Clients:
    """Finds clients behind trusted proxies; asks once for each connection and list that differ.

    Args:
        trusted: The proxies' networks.
        texts: What the codes were made with.
    """

    def __init__(self, trusted: Networks, texts: TextCodes) -> None:
        self._trusted = trusted
        self._texts = texts
        self._generation = texts.generation
        self._known: dict[int, int] = {}

    def of(self, peers: UInt64s, lists: UInt64s) -> UInt64s:
        """Return uint64[n], the codes of the clients.

        Args:
            peers: uint64[n], codes of who connected.
            lists: uint64[n], codes of X-Forwarded-For; that of "" where there is none.
        """
        if self._generation != self._texts.generation:
            self._generation = self._texts.generation
            self._known.clear()
        clients = peers.copy()
        rows = np.flatnonzero(lists != np.uint64(self._texts[""]))
        pairs, firsts, places = np.unique(
            combine([peers[rows], lists[rows]]), return_index=True, return_inverse=True
        )
        found = np.empty(len(pairs), np.uint64)
        for index, (pair, first) in enumerate(zip(pairs.tolist(), firsts.tolist(), strict=True)):
            if pair not in self._known:
                peer = self._texts.text_of(int(peers[rows[first]]))
                forwarded_for = self._texts.text_of(int(lists[rows[first]]))
                client = client_of(peer, forwarded_for, self._trusted)
                self._known[pair] = self._texts[client]
            found[index] = self._known[pair]
        clients[rows] = found[places]
        return clients


def client_of(peer: str, forwarded_for: str, trusted: Networks) -> str:
    """Return the last address on the way to us that isn't a trusted proxy.

    Args:
        peer: Who connected.
        forwarded_for: The list that they sent, the nearest last.
        trusted: Whose lists are believed.

    Returns:
        The address without a port; the farthest proxy where nothing before it is an address.
    """
    client = peer
    for entry in reversed(forwarded_for.split(",")):
        address = _address(client)
        if address is None or address not in trusted:
            break
        before = _without_port(entry.strip())
        if _address(before) is None:
            break
        client = before
    return client


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, port = text.rpartition(":")
    return host if colon and port.isdecimal() and ":" not in host else text
