"""One origin of the loopback Hub: a threading HTTP/1.1 server that sends what its application answers.

The application sees an `ReceivedRequest` and returns an `Answer`; keep-alive, ranges, faults and counting are done here, so both
origins behave alike. Files go out by sendfile, never through memory as a whole.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from tests.fake_hub.blobs import Blob
from tests.fake_hub.faults import Fault, Faults
from tests.fake_hub.ledger import Ledger, Request

SLICE_BYTES = 1 << 20
BODY_LIMIT_BYTES = 1 << 20
ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


@dataclass(frozen=True)
class ReceivedRequest:
    """A request. `path` is as sent (still percent-encoded), header names are in small letters."""

    method: str
    target: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Span:
    """The bytes start up to, not including, stop of a blob."""

    blob: Blob
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Answer:
    """A response; Content-Length and Date are added when it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Span = b""


@dataclass(frozen=True)
class Application:
    """What an origin serves: its name in the log, the kind of a request, and the answer to it."""

    name: str
    kind: Callable[[ReceivedRequest], str]
    answer: Callable[[ReceivedRequest, Mapping[str, Fault]], Answer]


def file_answer(
    asked: ReceivedRequest, blob: Blob, headers: Mapping[str, str], *, ignore_range: bool = False
) -> Answer:
    """The blob, or the one range of it that was asked for: 200, 206 or 416. Several ranges give the whole, as on S3."""
    headers = {**headers, "Accept-Ranges": "bytes"}
    wanted = None if ignore_range else ONE_RANGE.match(asked.headers.get("range", ""))
    if wanted is None or wanted.groups() == ("", ""):
        return Answer(200, headers, Span(blob, 0, blob.size))
    first, last = wanted.groups()
    start = int(first) if first else max(0, blob.size - int(last))
    stop = min(int(last) + 1, blob.size) if first and last else blob.size
    if start >= blob.size or start >= stop:
        text = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InvalidRange</Code></Error>'
        return Answer(416, {"Content-Range": f"bytes */{blob.size}", "Content-Type": "application/xml"}, text)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size}"
    return Answer(206, headers, Span(blob, start, stop))


class Origin(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server on a free port of 127.0.0.1; `stop` also ends connections that clients keep open."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, application: Application, faults: Faults, ledger: Ledger, port: int = 0):
        self.application, self.faults, self.ledger = application, faults, ledger
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name=application.name)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news; everything else is a bug of the fake and must be seen."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, lets the application answer it, spoils the answer where a fault strikes, sends it."""

    server: Origin
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        asked = self._read()
        kind = self.server.application.kind(asked)
        struck = self.server.faults.strike(kind, asked.target)
        if "slow" in struck:
            self._wait(struck["slow"])
        if "drop_connection" in struck:
            self._count(asked, kind, 0, 0)
            self.close_connection = True
            return
        answer = _overruled(struck) or self.server.application.answer(asked, struck)
        answer = _spoiled(answer, struck)
        self._count(asked, kind, answer.status, 0 if asked.method == "HEAD" else len(answer.body))
        self._send(asked, kind, answer, struck)

    def _wait(self, slow: Fault) -> None:
        """As long as the fault says, unless it or the Hub ends before: an answer must not be counted in the next test."""
        until = time.monotonic() + slow.settings["seconds"]
        while (left := until - time.monotonic()) > 0 and not self.server.stopping.is_set():
            if slow.ended.wait(min(left, 0.05)):
                return

    def _read(self) -> ReceivedRequest:
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(min(int(length), BODY_LIMIT_BYTES)) if length.isdigit() else b""
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        return ReceivedRequest(self.command, self.path, path, parse_qs(query, keep_blank_values=True), headers, body)

    def _count(self, asked: ReceivedRequest, kind: str, status: int, length: int) -> None:
        origin = self.server.application.name
        self.server.ledger.add(Request(kind, origin, asked.method, asked.target, asked.headers, status, length))

    def _send(self, asked: ReceivedRequest, kind: str, answer: Answer, struck: Mapping[str, Fault]) -> None:
        endless = struck.get("endless_body") if answer.status in (200, 206) and asked.method != "HEAD" else None
        length = {"Transfer-Encoding": "chunked"} if endless else {"Content-Length": str(len(answer.body))}
        headers = {"Date": formatdate(usegmt=True), **answer.headers, **length}
        lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", *(f"{k}: {v}" for k, v in headers.items())]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if asked.method == "HEAD":
            self.wfile.write(head)
        elif endless:
            self.wfile.write(head)
            self._send_endless(kind, endless.settings["limit_bytes"])
        else:
            self._send_body(kind, head, answer.body, struck)

    def _send_body(self, kind: str, head: bytes, body: bytes | Span, struck: Mapping[str, Fault]) -> None:
        stop = len(body)
        if "cut_after_bytes" in struck:
            stop = min(stop, struck["cut_after_bytes"].settings["count"])
            self.close_connection = True
        pace = struck["trickle"].settings["bytes_per_second"] if "trickle" in struck else None
        step = max(1, pace // 10) if pace else SLICE_BYTES
        if isinstance(body, bytes) and pace is None:
            self.server.ledger.sending(kind, stop)
            self.wfile.write(head + body[:stop])
            return
        self.wfile.write(head)
        for at in range(0, stop, step):
            count = min(step, stop - at)
            self.server.ledger.sending(kind, count)
            if isinstance(body, Span) and body.blob.path is not None:
                with body.blob.path.open("rb") as file:
                    self.connection.sendfile(file, body.start + at, count)
            else:
                self.wfile.write(
                    body[at : at + count]
                    if isinstance(body, bytes)
                    else body.blob.read(body.start + at, body.start + at + count)
                )
            if pace and self.server.stopping.wait(0.1):
                return

    def _send_endless(self, kind: str, limit_bytes: int) -> None:
        block = bytes(SLICE_BYTES)
        for _ in range(max(1, limit_bytes // SLICE_BYTES)):
            if self.server.stopping.is_set():
                break
            self.server.ledger.sending(kind, SLICE_BYTES)
            self.wfile.write(b"%x\r\n" % SLICE_BYTES + block + b"\r\n")
        self.close_connection = True


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _overruled(struck: Mapping[str, Fault]) -> Answer | None:
    """The answer of faults that leave nothing to the application."""
    if "status" in struck:
        said = struck["status"].settings
        text = said["body"] if said["body"] is not None else f"{said['status']} {_phrase(said['status'])}"
        return Answer(said["status"], {"Content-Type": "text/html", **said["headers"]}, text.encode())
    if "redirect_to" in struck:
        said = struck["redirect_to"].settings
        return Answer(said["status"], {"Location": said["location"], "Content-Type": "text/plain"})
    if "replace_json" in struck:
        return json_text(struck["replace_json"].settings["value"])
    return None


def json_text(value: Any) -> Answer:
    """200 with compact JSON, as the Hub writes it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Answer(200, {"Content-Type": "application/json; charset=utf-8"}, text.encode())


def _spoiled(answer: Answer, struck: Mapping[str, Fault]) -> Answer:
    """Faults that bend headers or body of an answer that carries a file."""
    if answer.status not in (200, 206):
        return answer
    headers, body = dict(answer.headers), answer.body
    if "wrong_content_range" in struck and isinstance(body, Span):
        shift = struck["wrong_content_range"].settings["shift"]
        headers["Content-Range"] = f"bytes {body.start + shift}-{body.stop - 1 + shift}/{body.blob.size}"
    if "short_body" in struck and len(body):
        missing = min(struck["short_body"].settings["missing"], len(body))
        body = replace(body, stop=body.stop - missing) if isinstance(body, Span) else body[:-missing]
    if "other_bytes" in struck:
        body = bytes(255 - b for b in _whole(body))
    if "gzip_body" in struck:
        body = gzip.compress(_whole(body), compresslevel=1)
        headers["Content-Encoding"] = "gzip"
    return Answer(answer.status, headers, body)


def _whole(body: bytes | Span) -> bytes:
    return body if isinstance(body, bytes) else body.blob.read(body.start, body.stop)
