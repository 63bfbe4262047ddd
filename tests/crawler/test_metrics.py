"""What Prometheus is told, read as Prometheus would read it."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lineage.commands.crawl import reported
from lineage.crawler.hub import Hub
from lineage.crawler.metrics import Metrics, PortTaken
from lineage.crawler.schedule import Interruption
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.store import open_store
from tests.crawler.toys import repository
from tests.fake_hub import FakeHub


def scraped(port: int) -> dict[tuple[str, ...], float]:
    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_are_those_of_the_summary_and_go_on_over_passes(fake: FakeHub, tmp_path: Path) -> None:
    for number in range(3):
        fake.add_repo(f"acme/m{number}", repository(number))
    fake.add_repo("acme/broken", {"model.safetensors": b"nonsense"})
    metrics, requests, received = Metrics(), 0, 0
    port = metrics.serve(0)
    with open_store(str(tmp_path / "store")) as store:
        for _ in range(2):
            with metrics.pass_under_way(), reported(metrics) as report:
                assert scraped(port)[("lineage_pass_under_way",)] == 1
                kept, file = SketchStore(tmp_path / "s"), tmp_path / "p.sqlite"
                summary = crawl_into(store, kept, file, CrawlOptions(), hub=Hub(fake.url, False), report=report)
            requests += sum(summary.requests.values())
            received += sum(summary.body_bytes.values())
    with pytest.raises(Interruption), metrics.pass_under_way():
        raise Interruption
    metrics.detected({"edges_added": 2, "edges_verified": 1, "edges_superseded": 0})
    found = scraped(port)
    assert found[("lineage_models_total", "seen")] == 8 and found[("lineage_models_total", "read")] == 3
    assert found[("lineage_errors_total", "BadHeader")] == 2
    assert sum(value for name, value in found.items() if name[0] == "lineage_requests_total") == requests
    assert sum(value for name, value in found.items() if name[0] == "lineage_received_bytes_total") == received
    assert found[("lineage_edges_total", "added")] == 2 and found[("lineage_pass_under_way",)] == 0
    assert found[("lineage_passes_total", "ended")] == 2 and found[("lineage_passes_total", "stopped")] == 1
    assert found[("lineage_last_pass_timestamp_seconds",)] > 0


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortTaken, match="metrics cannot be served"):
            Metrics().serve(other.getsockname()[1])
