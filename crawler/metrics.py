"""Prometheus metrics of a running crawl: every count of its summary, updated as it runs.

https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lineage.graphdb.schema import Failure

if TYPE_CHECKING:
    from lineage.crawler.batch import Batch


class PortTaken(Failure):
    """Metrics cannot be served where they were asked for."""


class Metrics:
    """Counters of one process.

    Args:
        registry: of prometheus_client; None makes one.
    """

    def __init__(self, registry: Any = None):
        from prometheus_client import CollectorRegistry, Gauge
        from prometheus_client import Counter as Count

        self.registry = registry or CollectorRegistry()

        def count(name: str, text: str, *labels: str) -> Any:
            return Count(f"lineage_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str) -> Any:
            return Gauge(f"lineage_{name}", text, registry=self.registry)

        self._models = count("models", "Models of the listing, by what was done about them.", "outcome")
        self._requests = count("requests", "Requests to the Hub and its storage.", "kind")
        self._bytes = count("received_bytes", "Bytes of answers' bodies.", "kind")
        self._errors = count("errors", "Repositories that could not be read, by kind of failure.", "kind")
        self._edges = count("edges", "Edges of the graph.", "change")
        self._passes = count("passes", "Passes that ended.", "outcome")
        self._seconds = count("pass_seconds", "Time spent in passes.")
        self._under_way = gauge("pass_under_way", "1 during a pass.")
        self._ended = gauge("last_pass_timestamp_seconds", "When the last pass came to its end.")
        self._asked: Counter[tuple[str, str]] = Counter()

    def serve(self, port: int, address: str = "127.0.0.1") -> int:
        """Serves `/metrics` from a thread of its own; gives the port, which is chosen where 0 is asked for.

        Raises:
            PortTaken: the port is in use.
        """
        from prometheus_client import start_http_server

        try:
            server, _ = start_http_server(port, addr=address, registry=self.registry)
        except (OSError, OverflowError) as error:
            raise PortTaken(
                f"metrics cannot be served at {address}:{port}: {getattr(error, 'strerror', None) or error}",
                "another --metrics-port",
            ) from None
        return int(server.server_address[1])

    @contextmanager
    def pass_under_way(self) -> Iterator[None]:
        """One pass; how it ended is its exception."""
        self._asked.clear()
        outcome, began = "failed", time.monotonic()
        try:
            with self._under_way.track_inprogress():
                yield
            outcome = "ended"
            self._ended.set_to_current_time()
        except Failure as failure:
            outcome = "stopped" if failure.exit_code == 130 else "failed"
            raise
        finally:
            self._passes.labels(outcome).inc()
            self._seconds.inc(time.monotonic() - began)

    def page(self, batch: Batch, requests: Mapping[str, int], body_bytes: Mapping[str, int]) -> None:
        """What came of a page; requests and bytes are those of the pass until now."""
        for outcome, number in batch.counts.items():
            self._models.labels(outcome).inc(max(0, number))  # what waited before is less by those that were read
        for failure in batch.failures:
            self._errors.labels(failure.kind).inc()
        for what, counter, found in (("requests", self._requests, requests), ("bytes", self._bytes, body_bytes)):
            for kind, number in found.items():
                counter.labels(kind).inc(number - self._asked[what, kind])
                self._asked[what, kind] = number

    def detected(self, counts: Mapping[str, Any]) -> None:
        """What detection found."""
        for change in ("added", "verified", "superseded"):
            self._edges.labels(change).inc(counts[f"edges_{change}"])
