"""Half-sent requests: they end by themselves, and keep no other request out."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import pytest
import uvicorn

from lineage.web import connections
from lineage.web.connections import MOST_OPEN, BoundedProtocol
from lineage.web.serving import _server

WHOLE = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"page"})


async def served(ask: Any) -> None:
    """Runs `ask(port)` beside a server that answers each request at once."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        config = uvicorn.Config(
            page, http=BoundedProtocol, lifespan="off", log_level="critical", limit_concurrency=2 * MOST_OPEN
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            await asyncio.wait_for(ask(listener.getsockname()[1]), 20)
        finally:
            server.should_exit = True
            await running


def test_half_sent_requests_keep_no_other_out() -> None:
    async def ask(port: int) -> None:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * MOST_OPEN + 50)]
        for _, writer in slow:
            writer.write(b"GET / HT")
        await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):  # and the connection can be used again
            writer.write(WHOLE)
            assert (await reader.readuntil(b"page")).startswith(b"HTTP/1.1 200")
        for _, other in [*slow, (reader, writer)]:
            other.close()

    asyncio.run(served(ask))


def test_only_an_interruption_is_called_one() -> None:
    servers = [_server(uvicorn.Config(page)) for _ in range(2)]
    for server, number in zip(servers, (signal.SIGTERM, signal.SIGINT), strict=True):
        server.handle_exit(number, None)
    assert [(server.should_exit, server.interrupted) for server in servers] == [(True, False), (True, True)]


def test_a_head_that_does_not_end_in_time_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)

    async def ask(port: int) -> None:
        for before in (b"", WHOLE):  # the first head of a connection, and a later one
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if before:
                writer.write(before)
                await reader.readuntil(b"page")
            for letter in b"GET /":
                writer.write(bytes([letter]))
                await asyncio.sleep(0.01)
            assert await reader.read() == b""
            writer.close()

    asyncio.run(served(ask))
