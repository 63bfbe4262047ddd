"""What every request and every answer of the web pages goes through.

Only GET and HEAD; only hosts that are expected, so that no foreign page reaches a loopback server by a name of its own (DNS rebinding);
a password where one is set; and headers that let a browser run nothing but our own script.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
from collections.abc import Collection
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LONGEST_TARGET = 4_096  # bytes of path and query


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: names that a Host header may have, without port; addresses: whether any IP address is taken as well.
        user, password: None where they are not required.
    """

    hosts: frozenset[str] = LOOPBACK
    addresses: bool = False
    user: str | None = None
    password: str | None = None

    def allows_host(self, header: str) -> bool:
        name = _host_name(header)
        if name is None:
            return False
        if name in self.hosts:
            return True
        return self.addresses and _is_address(name)

    def allows_credentials(self, header: str) -> bool:
        if self.password is None:
            return True
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        expected = f"{self.user}:{self.password}".encode()
        return hmac.compare_digest(given, expected)


class Guard:
    """See the module's first lines."""

    def __init__(self, app: ASGIApp, access: Access):
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal, as_json=b"format=json" in scope["query_string"].split(b"&"))
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in HEADERS if pair[0] not in known)]
            await send(message)

        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str, Collection[tuple[bytes, bytes]]] | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not self._access.allows_host(headers.get(b"host", "")):
            return 421, "This server does not answer to that Host.", ()
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "Only GET: these pages are for reading.", ((b"allow", b"GET, HEAD"),)
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > LONGEST_TARGET:
            return 414, "The address is too long.", ()
        if not self._access.allows_credentials(headers.get(b"authorization", "")):
            return (
                401,
                "A name and a password are needed.",
                ((b"www-authenticate", b'Basic realm="lineage", charset="UTF-8"'),),
            )
        return None


async def _refuse(send: Send, status: int, text: str, more: Collection[tuple[bytes, bytes]], as_json: bool) -> None:
    kind = b"application/json" if as_json else b"text/plain; charset=utf-8"
    body = json.dumps({"error": text}) if as_json else text
    headers = [(b"content-type", kind), (b"cache-control", b"no-store"), *HEADERS, *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{body}\n".encode()})


def _host_name(header: str) -> str | None:
    """The name in a Host header, in lower case and without its port; None where it is invalid."""
    text = header.strip().lower()
    if text.startswith("["):
        inside, closed, port = text[1:].partition("]")
        return inside if closed and (not port or _is_port(port)) else None
    name, colon, port = text.partition(":")
    if colon and not _is_port(colon + port):
        return None
    return name.rstrip(".") or None


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isdigit() and len(text) <= 6


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
