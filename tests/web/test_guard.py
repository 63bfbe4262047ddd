"""Requests that are refused, whatever page they ask for; and the headers that every answer carries."""

from __future__ import annotations

import base64

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lineage.web.guard import POLICY, Access, Guard
from tests.web.asking import ask


def guarded(access: Access | None = None) -> Guard:
    page = Route("/{rest:path}", lambda request: PlainTextResponse("page"), methods=["GET", "POST", "PUT"])
    return Guard(Starlette(routes=[page]), access or Access())


STRANGERS = (
    "evil.example",
    "localhost.evil.example",
    "evil@localhost",
    "",
    "localhost:8765:1",
    "127.0.0.2",
    "[::1",
    "a b",
)


@pytest.mark.parametrize("host", [*STRANGERS, "127.0.0.1.nip.io", "localhost:port", "\xff"])
def test_a_foreign_host_is_refused(host: str) -> None:
    answer = ask(guarded(), "/", host=host)
    assert answer.status == 421 and "page" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_only_reading_is_allowed(method: str) -> None:
    answer = ask(guarded(), "/", method)
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


def test_every_answer_carries_the_policy() -> None:
    for answer in (ask(guarded(), "/"), ask(guarded(), "/", "POST"), ask(guarded(), "/", host="evil.example")):
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers
    assert "unsafe" not in POLICY and "http" not in POLICY


def test_a_long_address_is_refused() -> None:
    assert ask(guarded(), "/?q=" + "a" * 5000).status == 414
    asked_json = ask(guarded(), "/search?q=" + "a" * 5000 + "&format=json")
    assert asked_json.status == 414 and asked_json.json == {"error": "The address is too long."}


def basic(text: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Basic " + base64.b64encode(text))]


def test_a_password_is_asked_for() -> None:
    app = guarded(Access(user="me", password="correct horse battery"))
    refused = ask(app, "/")
    assert refused.status == 401 and refused.headers["www-authenticate"].startswith("Basic")
    for wrong in (b"me:wrong", b"you:correct horse battery", b"me", b"", b"me:correct horse battery ", b"\xff:\xfe"):
        assert ask(app, "/", headers=basic(wrong)).status == 401
    for broken in (b"Basic !!!", b"Bearer x", b"Basic", b"Basic \xff"):
        assert ask(app, "/", headers=[(b"authorization", broken)]).status == 401
    assert ask(app, "/", headers=basic(b"me:correct horse battery")).status == 200


def test_addresses_are_taken_where_the_server_is_for_others() -> None:
    access = Access(frozenset({"lineage.example.org"}), addresses=True, user="me", password="x")
    assert access.allows_host("192.0.2.7:8765") and access.allows_host("[2001:db8::1]:80")
    assert access.allows_host("lineage.example.org") and not access.allows_host("evil.example")
