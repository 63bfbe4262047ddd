"""Stages on different machines: crawl here, detect there, the samples at an address that both reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lineage.graphdb.digest import graph_digest
from lineage.graphdb.store import open_store
from tests.cli.command import command_at
from tests.fake_hub import FakeHub
from tests.s3 import s3  # noqa: F401 - a fixture


@pytest.mark.slow
def test_crawl_and_detect_on_two_machines_give_the_graph_of_a_sync(
    small_hub: FakeHub,
    s3: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    keys = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    (tmp_path / "one").mkdir()
    whole, crawler = command_at(tmp_path / "one", small_hub.url), command_at(tmp_path, small_hub.url)
    assert whole("sync").code == 0
    assert crawler("crawl", "--sketches", s3, **keys).code == 0
    assert not list(crawler.store.rglob("*.safetensors")), "no sample stays on this machine"
    elsewhere = {**keys, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    found = crawler("detect", "--sketches", s3, "--json", **elsewhere)
    assert found.code == 0 and found.json["without_sketch"] == 0, found.stderr
    digests = []
    for command in (whole, crawler):
        with open_store(str(command.store)) as graph:
            digests.append(graph_digest(graph, passing=False))
    assert digests[0] == digests[1]
    assert crawler("sketches", "compact", "--sketches", s3, "--json", **keys).json["single"] == 0
    assert crawler("sketches", "copy", str(tmp_path / "copy"), "--sketches", s3, "--json", **keys).json == {"copied": 1}
    again = crawler("detect", "--all", "--sketches", str(tmp_path / "copy"), "--json").json
    assert (again["edges_added"], again["edges_superseded"]) == (0, 0) and again["edges_verified"] > 1
    checked = crawler("sketches", "check", "--sketches", str(tmp_path / "copy"), "--json")
    assert checked.code == 0 and checked.json["damaged"] == [] and checked.json["in_shards"] > 5
    (shard,) = (tmp_path / "copy" / "shards").iterdir()
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    checked = crawler("sketches", "check", "--sketches", str(tmp_path / "copy"))
    assert checked.code == 1 and "1 damaged" in checked.stderr and "--repair" in checked.stderr
