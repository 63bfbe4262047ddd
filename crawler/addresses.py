"""Which addresses an answer of the Hub may send us to.

A mirror in between, or a hostile Hub, could answer with a redirect into our own network. So a redirect may only
lead to http(s), never from https down to http, and never to a more private network than the endpoint's own.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import urlsplit

from lineage.crawler.hub_errors import UnexpectedAnswer

PUBLIC, PRIVATE, OWN_MACHINE = 0, 1, 2


class ForbiddenRedirect(UnexpectedAnswer):
    """The Hub sends us somewhere we will not go."""


def check_redirect(endpoint: str, before: str, target: str, repo_id: str | None = None) -> None:
    """
    Args:
        endpoint: address of the Hub; it decides how private a network may be.
        before, target: absolute addresses, the second is where the first wants to send us.
    Raises:
        ForbiddenRedirect: see above.
    """
    old, new = urlsplit(before), urlsplit(target)
    host = new.hostname or ""
    why = None
    if new.scheme not in ("https", "http") or not host:
        why = f"to a {new.scheme or 'nameless'} address"
    elif new.scheme == "http" and old.scheme == "https":
        why = f"from https down to http on {host}"
    elif new.username or new.password:
        why = f"to {host} with a password in the address"
    elif origin(target) != origin(endpoint) and nearness(host) > nearness(urlsplit(endpoint).hostname or ""):
        why = f"to {host}, inside a private network"
    if why:
        raise ForbiddenRedirect(
            f"{urlsplit(endpoint).hostname} redirects {why}; not followed",
            "check --endpoint or HF_ENDPOINT: a proper Hub does not do that",
            repo_id,
        )


def origin(address: str) -> tuple[str, str, int]:
    """Scheme, host and port: what must be equal for a token to be sent."""
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, (parts.hostname or "").lower(), port or {"https": 443, "http": 80}.get(parts.scheme, 0)


@lru_cache(maxsize=1024)
def nearness(host: str) -> int:
    """0 for a public host, 1 for one in a private network, 2 for our own machine or link; the nearest of its addresses counts."""
    try:
        addresses = {ipaddress.ip_address(host)}
    except ValueError:
        try:
            found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError):
            return OWN_MACHINE if host == "localhost" else PUBLIC  # unknown: the request itself will fail
        addresses = {ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found}
    return max(map(_nearness, addresses), default=PUBLIC)


def _nearness(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return OWN_MACHINE
    return PUBLIC if address.is_global else PRIVATE
