"""A Hub with millions of models that only lists, for bench/crawl.py: pages are made from a template, in a process of its own.

The rows have the dirt of real listings: claims as text, list and mapping, missing fields, wrong dates, pickles only, gated,
unknown fields, an item without identity on every page. Quotas are counted in windows of a clock that the client can set
forward, so that waiting takes no time.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

WINDOW_SECONDS = 300
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
MARK, STAMP = "0123456789abcdef", "2001-01-01T00:00:00.000Z"


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of one page, as the real Hub has them; MARK and STAMP are replaced on every page."""
    chance = random.Random(seed)
    found = []
    for i in range(count):
        name = f"org{chance.randrange(10**5)}/model-{MARK}-{i}"
        bases = chance.choice(
            [None, None, None, "acme/base", ["acme/base"], {"merge": ["a/b", "c/d"]}, "./out/checkpoint", 7]
        )
        card = {"license": chance.choice(["mit", ["apache-2.0"], None])} | ({"base_model": bases} if bases else {})
        tags = ["transformers", "safetensors", "license:mit", "region:us", *(["base_model:acme/base"] if bases else [])]
        files = ["README.md", "config.json", "pytorch_model.bin", "tokenizer.json", ".gitattributes"]
        row: dict[str, Any] = {
            "_id": f"{MARK}{i:08x}",
            "id": name,
            "sha": f"{chance.getrandbits(160):040x}",
            "lastModified": STAMP,
            "createdAt": STAMP,
            "tags": tags,
            "config": chance.choice([None, {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, {}]),
            "cardData": chance.choice([card, card, None]),
            "siblings": [{"rfilename": f} for f in files],
            "gated": chance.choice([False] * 20 + ["auto"]),
            "disabled": False,
            "private": False,
            "library_name": "transformers",
            "downloads": chance.choice([0, 3, 12, 10**6, "many"]),
            "somethingNew": {"x": [1, 2, 3]},
        }
        for dirt in ("cardData", "library_name", "sha", "downloads"):
            if chance.random() < 0.02 and dirt != "sha":
                del row[dirt]
        found.append(row)
    return [*found, {"id": "no/identity", "safetensors": {}}]


class Listing:
    """What the server knows; lives in its process."""

    def __init__(self, models: int, page_models: int, quota: int, shift: Any, changed: int):
        self.pages = -(-models // page_models)
        self.changed_pages = -(-changed // page_models)
        self.quota, self.shift = quota, shift
        self.template = json.dumps(rows(page_models, 1), separators=(",", ":")).encode()
        self.window_started, self.used = 0.0, 0

    def spend(self) -> tuple[bool, dict[str, str]]:
        if not self.quota:
            return False, {}
        now = time.monotonic() + self.shift.value
        if now - self.window_started >= WINDOW_SECONDS:
            self.window_started, self.used = now, 0
        refused = self.used >= self.quota
        self.used += not refused
        left = max(1, int(self.window_started + WINDOW_SECONDS - now) + 1)
        limit = f'"api";r={self.quota - self.used};t={left}'
        return refused, {
            "RateLimit": limit,
            "RateLimit-Policy": f'"fixed window";"api";q={self.quota};w={WINDOW_SECONDS}',
        }

    def page(self, number: int, by_changes: bool) -> bytes:
        """By creation: all pages. By last change: first the new and changed ones, dated a day after all others."""
        recent = by_changes and number < self.changed_pages
        stamp = FIRST_DAY + timedelta(days=301 if recent else 300, hours=-2 * number)
        half = self.changed_pages // 2  # half of the recent ones are new, the others are known with another commit
        who = number if not by_changes else (number + 10**9 if recent and number < half else number)
        made = self.template.replace(MARK.encode(), f"{who + 1:016x}".encode())
        if recent and number >= half:
            made = made.replace(b'"sha":"', b'"sha":"f').replace(b'","lastModified"', b'","lastModified"')
        return made.replace(STAMP.encode(), f"{stamp:%Y-%m-%dT%H:%M:%S}.000Z".encode())


def serve(models: int, page_models: int, quota: int, shift: Any, changed: int, address: Any) -> None:
    listing = Listing(models, page_models, quota, shift, changed)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            refused, headers = listing.spend()
            by_changes = query.get("sort") == ["lastModified"]
            number = int(query.get("cursor", ["0"])[0])
            if refused or parts.path != "/api/models":
                self.answer(429 if refused else 404, b"", headers)
                return
            if number + 1 < listing.pages:
                keep = f"sort={query['sort'][0]}&limit={page_models}&cursor={number + 1}"
                headers["Link"] = f'<{address.value.decode()}/api/models?{keep}>; rel="next"'
            self.answer(200, listing.page(number, by_changes), headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address.value = f"http://127.0.0.1:{server.server_address[1]}".encode()
    server.serve_forever()


class ListingHub:
    """Address of the server, and the clock that it shares with the client."""

    def __init__(self, url: str, shift: Any):
        self.url, self._shift = url, shift

    def clock(self) -> float:
        return time.monotonic() + float(self._shift.value)

    def sleep(self, seconds: float) -> None:
        self._shift.value += seconds


@contextmanager
def listing_hub(models: int, page_models: int = 500, quota: int = 0, changed: int = 0) -> Iterator[ListingHub]:
    """
    Args:
        quota: requests in a window of WINDOW_SECONDS; 0 for no limit.
        changed: models that come first when ordered by change: half of them new, half with another commit.
    """
    context = multiprocessing.get_context("spawn")
    shift, address = context.Value("d", 0.0), context.Array("c", 64)
    process = context.Process(target=serve, args=(models, page_models, quota, shift, changed, address), daemon=True)
    process.start()
    try:
        while not address.value:
            time.sleep(0.02)
        yield ListingHub(address.value.decode(), shift)
    finally:
        process.terminate()
        process.join()
