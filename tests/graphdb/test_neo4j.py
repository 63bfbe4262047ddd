"""Neo4j's own troubles: not there, a wrong password, an address that is none."""

from __future__ import annotations

import socket
import threading

import pytest

from lineage.graphdb.errors import AccessDenied, NotReachable
from lineage.graphdb.schema import Failure
from lineage.graphdb.store import open_store
from tests.neo4j_server import free_port


@pytest.mark.parametrize("scheme", ["bolt", "neo4j"])
def test_a_neo4j_that_is_not_there_is_said_in_one_line(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "whatever")
    url = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(NotReachable) as failure:
        open_store(url)
    assert url in failure.value.message
    assert "\n" not in failure.value.message
    assert "whatever" not in str(failure.value)


def test_a_port_that_is_not_a_neo4j_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "whatever")
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(NotReachable) as failure:
            open_store(f"bolt://127.0.0.1:{other.getsockname()[1]}")
    assert "\n" not in failure.value.message


@pytest.mark.parametrize("url", ["bolt://", "bolt://host:notaport", "bolt://127.0.0.1:7687?x=y"])
def test_an_address_that_is_none_is_said_in_one_line(url: str) -> None:
    with pytest.raises(Failure) as failure:
        open_store(url)
    assert "\n" not in failure.value.message


@pytest.mark.neo4j
@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_refused_password_is_said_in_one_line(neo4j_url: str, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", password)
    with pytest.raises(AccessDenied) as refused:
        open_store(neo4j_url)
    assert "NEO4J_PASSWORD" in (refused.value.try_next or "")
    assert "\n" not in refused.value.message
    assert not password or password not in refused.value.message


@pytest.mark.neo4j
def test_a_database_that_does_not_exist_is_said_in_one_line(neo4j_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_DATABASE", "nosuchthing")
    with pytest.raises(NotReachable) as missing:
        open_store(neo4j_url)
    assert "nosuchthing" in missing.value.message
