"""Crawls that may spend only so much: what is read first, where they stop, how they go on, and what a dry run says."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save

from lineage.commands.crawl import crawl as crawl_command
from lineage.commands.crawl_options import SizeInBytes
from lineage.crawler.budget import Budget, BudgetSpent
from lineage.crawler.listing import parse_item
from lineage.crawler.pacing import Pacer
from lineage.crawler.plan import plan_crawl
from lineage.crawler.priority import pack, unpack
from lineage.crawler.progress import Progress
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Model, Status
from lineage.graphdb.store import open_store
from lineage.reading import StoringReader
from tests.crawler.crawls import DAY, Crawl
from tests.crawler.toys import Sleeps, hub_at, model_file
from tests.fake_hub import FakeHub


@pytest.fixture
def twelve(fake: FakeHub) -> FakeHub:
    """Twelve models; the later their name, the more often they were downloaded."""
    for i in range(12):
        files = {"model.safetensors": model_file(i)}
        fake.add_repo(f"acme/m{i:02}", files, downloads=4**i, created_at=DAY - timedelta(days=i + 1))
    return fake


def run(crawler: Crawl, **budget: float) -> tuple[list[Model], str | None]:
    """Models that were read, and why the crawl stopped."""
    read: list[Model] = []
    stopped = None
    from lineage.crawler.crawl import crawl

    crawler.fake.reset_counts()
    options = CrawlOptions(page_models=4, **budget)  # type: ignore[arg-type]
    with Progress(crawler.progress_file) as progress:
        try:
            for batch in crawl(
                options, StoringReader(crawler.sketches), progress, hub_at(crawler.fake), now=lambda: crawler.now
            ):
                read += [model for model in batch.models if model.status is Status.SKETCHED]
                batch.acknowledge()
        except BudgetSpent as spent:
            stopped = spent.message
    return read, stopped


def test_what_is_used_most_is_read_first(twelve: FakeHub, crawler: Crawl) -> None:
    read, stopped = run(crawler, max_requests=3 + 3 * 3)
    assert stopped is not None and "12 requests" in stopped
    assert {model.repo_id for model in read} <= {f"acme/m{i:02}" for i in range(12)} and read
    assert [m.repo_id for m in read] == ["acme/m11", "acme/m10", "acme/m09"][: len(read)]
    assert sum(crawler.requests().values()) == 12


@pytest.mark.slow
def test_many_small_budgets_end_where_one_large_crawl_ends(twelve: FakeHub, crawler: Crawl, tmp_path: Path) -> None:
    everything: dict[str, Model] = {}
    crawls = 0
    while crawls < 40:
        crawls += 1
        read, stopped = run(crawler, max_requests=7)
        everything |= {model.hub_id: model for model in read}
        assert sum(crawler.requests().values()) <= 7
        if stopped is None:
            break
    assert 4 < crawls < 40
    whole = Crawl(twelve, SketchStore(tmp_path / "whole")).run()
    assert everything == {model.hub_id: model for batch in whole for model in batch.models}


@pytest.mark.slow
def test_one_that_costs_more_than_the_budget_lets_others_go_first(twelve: FakeHub, crawler: Crawl) -> None:
    shards = {f"model-{i:05d}-of-00009.safetensors": save({f"l{i}": np.ones((9, 9), np.float32)}) for i in range(1, 10)}
    twelve.add_repo("acme/many-files", shards, downloads=10**12)
    read: list[Model] = []
    for _ in range(16):
        read += run(crawler, max_requests=12)[0]
    assert {f"acme/m{i:02}" for i in range(12)} <= {model.repo_id for model in read}


def test_a_declared_base_and_a_new_architecture_go_before_some_downloads(fake: FakeHub, crawler: Crawl) -> None:
    config = b'{"architectures": ["ToyModel"], "model_type": "toy"}'
    card = b"---\nbase_model: acme/base\n---\n"
    fake.add_repo("acme/plain", {"model.safetensors": model_file(1)}, downloads=100)
    fake.add_repo("acme/declares", {"README.md": card, "model.safetensors": model_file(2)}, downloads=50)
    fake.add_repo("acme/first-of-kind", {"config.json": config, "model.safetensors": model_file(3, 4)}, downloads=20)
    fake.add_repo("acme/unused", {"model.safetensors": model_file(4)}, downloads=0)
    read, stopped = run(crawler, max_requests=1000)
    assert stopped is None
    order = [model.repo_id for model in read]
    assert order.index("acme/declares") < order.index("acme/plain") < order.index("acme/unused") == 3


def test_bytes_and_minutes_are_kept_too(twelve: FakeHub, crawler: Crawl) -> None:
    _, stopped = run(crawler, max_bytes=400_000)
    assert stopped is not None and "0.4 MB" in stopped
    spent = sum(count.bytes for count in twelve.counts().values())
    assert 300_000 < spent < 400_000 + 4 * 200_000, "each of four workers may finish its answer"
    sleeps = Sleeps()
    budget = Budget(max_seconds=120, clock=sleeps.clock)
    budget.check(10**9, 10**12)
    with pytest.raises(BudgetSpent, match="2 minutes"):
        budget.check(0, 0, wait_seconds=121)
    sleeps(130)
    with pytest.raises(BudgetSpent):
        budget.check(0, 0)


def test_a_wait_that_ends_after_the_budget_is_not_begun(sketches: SketchStore) -> None:
    sleeps = Sleeps()
    with FakeHub(quotas={"api": 2}) as fake:
        for i in range(12):
            fake.add_repo(f"acme/m{i:02}", {"README.md": b""})
        hub = hub_at(fake, sleeps=sleeps)
        options = CrawlOptions(page_models=2, max_minutes=1)
        with open_store(str(Path(sketches.address) / "store")) as store:
            summary = crawl_into(store, sketches, Path(sketches.address) / "progress.sqlite", options, hub=hub)
    assert sleeps == [] and "1 minutes" in (summary.stopped or "") and summary.counts["seen"] == 4


def test_a_page_that_the_budget_cuts_is_kept_as_far_as_it_went(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(6):
        fake.add_repo(f"acme/m{i}", {"README.md": b""}, overrides={"sha": None})  # each costs a question
    first = None
    with Progress(crawler.progress_file) as progress:
        from lineage.crawler.crawl import crawl

        with pytest.raises(BudgetSpent):
            for batch in crawl(
                CrawlOptions(max_requests=4, workers=1), StoringReader(crawler.sketches), progress, hub_at(fake)
            ):
                first = batch
                batch.acknowledge()
    assert first is not None and first.counts["left"] == 3 and len(first.models) == 3
    _, stopped = run(crawler, max_requests=100)
    assert stopped is None


def test_a_crawl_without_budget_reads_what_still_waits(twelve: FakeHub, crawler: Crawl) -> None:
    run(crawler, max_requests=7)
    models = crawler.models()
    assert len(models) == 12 and {m.status for m in models.values()} == {Status.SKETCHED}
    assert crawler.models() == models and crawler.requests() == {"list": 1}


def test_a_repository_in_the_line_is_packed_without_what_has_nothing_to_do_with_weights() -> None:
    item = {
        "_id": "a" * 24,
        "id": "acme/m",
        "sha": "b" * 40,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "cardData": {"base_model": ["acme/base"]},
        "siblings": [{"rfilename": n} for n in ("model.safetensors", "README.md", *(f"x/{i}.png" for i in range(999)))],
    }
    repo = parse_item(item)
    packed = pack(repo)
    again = unpack(packed)
    assert len(packed) < 500 and again.files == ("model.safetensors",)
    assert again.declarations == repo.declarations and again.created_at == repo.created_at
    assert unpack(pack(parse_item({"_id": "a", "id": "b"}))).files is None


def test_a_dry_run_says_what_it_would_cost_and_leaves_nothing_behind(twelve: FakeHub, crawler: Crawl) -> None:
    twelve.add_repo("acme/pickle", {"model.pkl": b""})
    with Progress(crawler.progress_file) as progress:
        plan = plan_crawl(CrawlOptions(page_models=5), StoringReader(crawler.sketches), progress, hub_at(twelve))
    assert (plan.seen, plan.to_read, plan.unreadable, plan.pages) == (13, 12, 1, 3)
    assert plan.requests["resolvers"] == 12 and plan.first[0][1] == "acme/m11"
    assert crawler.requests() == {"list": 3}
    crawler.run()
    actual = crawler.requests()
    assert actual["resolve"] == plan.requests["resolvers"]
    assert actual["cdn"] <= plan.requests["storage"] <= 2 * actual["cdn"], "an upper bound, and no wild one"
    size = sum(len(model_file(i)) for i in range(12))
    assert 0.5 * size <= plan.body_bytes <= size
    with Progress(crawler.progress_file) as progress:
        plan = plan_crawl(CrawlOptions(), StoringReader(crawler.sketches), progress, hub_at(twelve))
    assert (plan.settled, plan.to_read, plan.body_bytes) == (13, 0, 0)


def test_a_dry_run_knows_that_onnx_files_cost_more(crawler: Crawl) -> None:
    with FakeHub() as fake, Progress(crawler.progress_file) as progress:
        fake.add_repo("acme/exported", {"onnx/model.onnx": b"its size is not in the listing"})
        plan = plan_crawl(CrawlOptions(), StoringReader(crawler.sketches), progress, hub_at(fake))
    assert (plan.to_read, plan.requests["resolvers"]) == (1, 1)
    assert plan.requests["storage"] > 100 and plan.body_bytes > 30_000_000


@pytest.mark.slow
def test_the_command_line_knows_budgets_and_dry_runs(
    twelve: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    where = ["--store", str(tmp_path / "store"), "--endpoint", twelve.url]
    planned = CliRunner().invoke(crawl_command, [*where, "--dry-run", "--json"])
    assert json.loads(planned.stdout)["to_read"] == 12, planned.output
    assert not (tmp_path / "store").exists()
    told = CliRunner().invoke(crawl_command, [*where, "--dry-run"])
    assert "12 to read" in told.stdout and "acme/m11" in told.stdout
    limited = CliRunner().invoke(crawl_command, [*where, "--max-requests", "6", "--json"])
    summary = json.loads(limited.stdout)
    assert sum(summary["requests"].values()) == 6 and "6 requests" in summary["stopped"]
    rest = CliRunner().invoke(crawl_command, [*where, "--max-bytes", "1G", "--max-minutes", "5", "--json"])
    assert json.loads(rest.stdout)["stopped"] is None
    with open_store(str(tmp_path / "store")) as store:
        assert store.counts()["status.sketched"] == 12
    refused = CliRunner().invoke(crawl_command, [*where, "--max-bytes", "lots"])
    assert refused.exit_code == 2 and "500M" in refused.output


@pytest.mark.parametrize(
    ("text", "size"), [("1000", 1000), ("500M", 500_000_000), ("1.5G", 1_500_000_000), ("2GB", 2 * 10**9)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert SizeInBytes().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "0", "-5", "many", "5X", "1e9"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SizeInBytes().convert(text, None, None)


def test_a_pacer_asks_before_it_pauses() -> None:
    asked: list[float] = []
    pacer = Pacer(100, sleep=lambda seconds: None)
    pacer.before_pause = asked.append
    pacer.pause(3)
    assert asked == [3]


def counted(crawler: Crawl, **budget: float) -> tuple[Counter[str], str | None]:
    """What a crawl counts, and why it stopped."""
    from lineage.crawler.crawl import crawl

    counts: Counter[str] = Counter()
    options = CrawlOptions(page_models=4, **budget)  # type: ignore[arg-type]
    with Progress(crawler.progress_file) as progress:
        try:
            for batch in crawl(
                options, StoringReader(crawler.sketches), progress, hub_at(crawler.fake), now=lambda: crawler.now
            ):
                counts.update(batch.counts)
                batch.acknowledge()
        except BudgetSpent as spent:
            return counts, spent.message
    return counts, None


def test_models_that_wait_are_counted_once_and_are_not_called_unreadable(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(16):
        fake.add_repo(f"acme/m{i:02}", {"model.safetensors": model_file(i)})
    counted(crawler, limit=3)
    summary, stopped = counted(crawler, max_requests=9)
    assert stopped is not None
    read = summary["new"]
    assert summary["seen"] == 16 and 0 < read < 13 and summary["unchanged"] == 3
    assert summary["waiting"] == 13 - read and summary["unreadable"] == 0 and summary["sketched"] == 3 + read
    summary, stopped = counted(crawler, max_requests=1_000)
    assert stopped is None and summary["seen"] == 16 and summary["waiting"] == 0 and summary["sketched"] == 16
