"""Running the web pages: who may ask, the socket, the graph, and the server until it is stopped."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from lineage.graphdb.schema import Failure
from lineage.web.guard import LOOPBACK, Access

if TYPE_CHECKING:
    import uvicorn

    from lineage.graphdb.store import Store

SHORTEST_PASSWORD = 12
LARGEST_PASSWORD_FILE = 4_096
HEAP = (
    "-Xmx112m"  # of the embedded store's engine in this process: pages need little, and there may be others beside it
)
AT_ONCE = 4  # pages made at once; more wait. Two cores do no more, and each holds memory of the engine


class CannotServePages(Failure):
    """The web pages cannot be served like this."""

    exit_code = 2


def access_of(host: str, password_file: Path | None, names: Sequence[str]) -> Access:
    """
    Raises:
        CannotServePages: an address that others reach, without a password; or a password file that cannot be used.
    """
    user = password = None
    if password_file is not None:
        user, password = read_password(password_file)
    elif host not in LOOPBACK:
        raise CannotServePages(
            f"{host} is reached by others: a password is needed",
            "write one line NAME:PASSWORD into a file and give it as --password-file",
        )
    hosts = {*LOOPBACK, *(name.lower().rstrip(".") for name in names)}
    if host not in LOOPBACK:
        hosts.add(host.lower())
    return Access(frozenset(hosts), host not in LOOPBACK, user, password)


def read_password(file: Path) -> tuple[str, str]:
    """
    Raises:
        CannotServePages: no such file, or not one line NAME:PASSWORD.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_PASSWORD_FILE + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CannotServePages(f"{file} cannot be read: {reason}", "write one line NAME:PASSWORD into it") from None
    user, colon, password = text.strip().partition(":")
    if not colon or not user or "\n" in text.strip():
        raise CannotServePages(f"{file} does not hold one line NAME:PASSWORD", "write it anew")
    if len(password) < SHORTEST_PASSWORD:
        raise CannotServePages(
            f"the password in {file} is shorter than {SHORTEST_PASSWORD} characters", "choose a longer one"
        )
    return user, password


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, before anything is opened: a taken port is known at once.

    Raises:
        CannotServePages: the address is not of this machine, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named as TCP, for asyncio turns Nagle's delay off only then: answers would wait 40 ms for an acknowledgement
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise CannotServePages(
            f"cannot listen on {host} port {port}: {error.strerror}", "choose another --port"
        ) from None
    with listener:
        yield listener


@contextmanager
def opened_graph(url: str) -> Iterator[Store]:
    """The graph, shared: a folder is served to other processes of the same person meanwhile, so that a sync can write.

    Raises:
        Failure: it does not exist, or another process holds it and serves nothing.
    """
    from lineage.graphdb.errors import StoreHeld
    from lineage.graphdb.store import open_store

    if "://" in url:
        with open_store(url, create=False) as store:
            yield store
        return
    from lineage.graphdb.serve import free_port, share_store

    os.environ.setdefault("ARCADEDB_NATIVE_ISOLATE_ARGS", HEAP)
    try:
        shared = share_store(url, free_port(), secrets.token_urlsafe(24))
        store = shared.__enter__()
    except StoreHeld:
        with open_store(url, create=False) as store:  # another process serves it
            yield store
        return
    try:
        yield store
    finally:
        shared.__exit__(None, None, None)


def address_of(listener: socket.socket, host: str) -> str:
    """The first page's address, as a browser on this machine takes it."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{listener.getsockname()[1]}/"


def serve(
    graph: Store,
    sketches: Path | str,
    source: str,
    access: Access,
    listener: socket.socket,
    started: Callable[[], None],
) -> None:
    """Answers requests until SIGTERM.

    Raises:
        KeyboardInterrupt: SIGINT ended it, after the requests under way were answered.
    """
    import anyio
    import igraph  # noqa: F401 - with the first page it would take a second
    import uvicorn

    from lineage.web.app import application
    from lineage.web.connections import BoundedProtocol
    from lineage.web.explorer import Explorer
    from lineage.web.samples import Samples
    from lineage.web.survey import Survey

    survey = Survey(graph)
    app = application(Explorer(graph, survey, Samples(sketches), source), access)
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=16 * 1024,
        limit_concurrency=256,
    )
    server = _server(config)

    async def run() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = AT_ONCE
        survey.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_say_when_up, server, started)
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()

    try:
        anyio.run(run)
    finally:
        survey.stop()
    if server.interrupted:
        raise KeyboardInterrupt


def _server(config: uvicorn.Config) -> Any:
    """A server that ends on SIGINT and SIGTERM in order: uvicorn's own raises the signal once more, and the store would stay open."""
    import uvicorn

    class Quiet(uvicorn.Server):
        interrupted = False

        def handle_exit(self, number: int, frame: FrameType | None) -> None:
            self.interrupted = self.interrupted or number == signal.SIGINT
            super().handle_exit(number, frame)

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    return Quiet(config)


async def _say_when_up(server: object, started: Callable[[], None]) -> None:
    import anyio

    while not getattr(server, "started", False):
        await anyio.sleep(0.02)
    started()
