"""The second origin: files under signed addresses that expire, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from urllib.parse import quote

from tests.fake_hub.blobs import Blob
from tests.fake_hub.faults import Fault
from tests.fake_hub.origin import Answer, ReceivedRequest, file_answer

DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>'
)
TWICE = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidArgument</Code>'
    b"<Message>Only one auth mechanism allowed</Message></Error>"
)


class Cdn:
    """Signs addresses and serves what is behind them.

    Args:
        signature_seconds: how long an address lives; may be a fraction.
    """

    def __init__(self, signature_seconds: float):
        self.signature_seconds = signature_seconds
        self._secret = secrets.token_bytes(16)
        self._blobs: dict[str, Blob] = {}
        self._lock = threading.Lock()

    def address(self, hub_id: str, blob: Blob, filename: str) -> str:
        """Path and query of a new address for the blob; every call gives another one."""
        path = f"/xet-bridge-us/{hub_id}/{blob.xet_hash}"
        with self._lock:
            self._blobs[path] = blob
        disposition = quote(f"inline; filename*=UTF-8''{quote(filename)}; filename=\"{filename}\";", safe="")
        query = (
            f"response-content-disposition={disposition}&Expires={time.time() + self.signature_seconds:.3f}"
            f"&Key-Pair-Id=K{secrets.token_hex(6)}"
        )
        return f"{path}?{query}&Signature={self._sign(f'{path}?{query}')}"

    def expire_addresses(self) -> None:
        """Every address given out so far answers 403 from now on."""
        self._secret = secrets.token_bytes(16)

    def kind(self, asked: ReceivedRequest) -> str:
        return "cdn"

    def answer(self, asked: ReceivedRequest, struck: Mapping[str, Fault]) -> Answer:
        if "authorization" in asked.headers:  # the Hub's token has no business here; object stores refuse it too
            return Answer(400, {"Content-Type": "application/xml"}, TWICE)
        signed, _, signature = asked.target.rpartition("&Signature=")
        expires = asked.query.get("Expires", ["0"])[0]
        with self._lock:
            blob = self._blobs.get(asked.path)
        if blob is None or not hmac.compare_digest(self._sign(signed), signature) or float(expires) < time.time():
            return Answer(403, {"Content-Type": "application/xml", "X-Cache": "Error from cloudfront"}, DENIED)
        headers = {
            "Content-Type": "application/octet-stream",
            "Etag": f'"{blob.xet_hash}"',
            "Access-Control-Allow-Origin": "*",
            "Content-Disposition": asked.query["response-content-disposition"][0],
        }
        return file_answer(asked, blob, headers, ignore_range="ignore_range" in struck)

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
