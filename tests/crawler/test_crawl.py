"""The whole crawl against the loopback Hub: what comes out, what it costs, and what it costs the second time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from lineage.crawler.hub_errors import BadToken, HubDown, UnexpectedAnswer
from lineage.crawler.open_model import open_model
from lineage.crawler.walk import CrawlOptions
from lineage.crawler.weights import UnreadableWeights
from lineage.detect.backbone import group_signature
from lineage.detect.sketch import plan
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Model, Status, local_id
from tests.crawler.crawls import DAY, Crawl
from tests.crawler.toys import Sleeps, hub_at, model_file, raw_header, repository, weights
from tests.fake_hub import FakeHub


def test_every_kind_of_repository_comes_out_with_its_status_and_reason(fake: FakeHub, crawler: Crawl) -> None:
    tensors = weights(4)
    halves = [save(dict(part)) for part in (list(tensors.items())[:3], list(tensors.items())[3:])]
    numbered = {f"model-0000{i}-of-00002.safetensors": half for i, half in enumerate(halves, 1)}
    index = json.dumps({"weight_map": {n: f"part-{'ab'[i >= 3]}.safetensors" for i, n in enumerate(tensors)}}).encode()
    fake.add_repo("acme/single", repository(1))
    fake.add_repo("acme/sharded", {**numbered, "model.safetensors.index.json": b"{}"})
    fake.add_repo(
        "acme/indexed",
        {"part-a.safetensors": halves[0], "part-b.safetensors": halves[1], "model.safetensors.index.json": index},
    )
    fake.add_repo("acme/lacking", {"model-00001-of-00002.safetensors": halves[0]})
    fake.add_repo("acme/pickle", {"model.pkl": b"\x80\x04evil"})
    fake.add_repo("acme/nothing", {"README.md": b""})
    fake.add_repo("acme/gated", repository(2), gated="manual")
    fake.add_repo("acme/disabled", repository(3), disabled=True)
    fake.add_repo("acme/broken", {"model.safetensors": raw_header(b"nonsense")})
    fake.add_repo("acme/nan", {"model.safetensors": save({"w": np.full((8, 8), np.nan, np.float32)})})
    fake.add_repo("acme/void", {"model.safetensors": save({})})
    fake.add_repo("acme/int4", {"model.safetensors": save({"a.qweight": np.zeros((8, 8), np.int32)})})
    adapter = {
        "adapter_config.json": b'{"base_model_name_or_path": "acme/single"}',
        "adapter_model.safetensors": halves[0],
    }
    fake.add_repo("acme/lora", adapter)
    models = crawler.models()
    readable = {name for name, model in models.items() if model.status is Status.SKETCHED}
    assert readable == {"acme/single", "acme/sharded", "acme/indexed"}
    assert {models[name].signature for name in readable} == {models["acme/single"].signature}
    assert models["acme/sharded"].weights_digest == models["acme/indexed"].weights_digest
    assert models["acme/lora"].status is Status.ADAPTER
    assert models["acme/gated"].status is Status.GATED and models["acme/gated"].weights_digest is not None
    reasons = {
        "acme/lacking": "1 of its 2 weight files is missing",
        "acme/pickle": "never opened",
        "acme/nothing": "no weight files",
        "acme/disabled": "disabled",
        "acme/broken": "damaged",
        "acme/nan": "NaN",
        "acme/void": "no tensors",
        "acme/int4": "none of its numbers can be compared",
    }
    for name, reason in reasons.items():
        assert models[name].status is Status.UNREADABLE and reason in (models[name].reason or ""), name
    assert len(models) == 13
    assert not any("model.pkl" in request.target for request in fake.log())


def test_claims_of_card_tags_and_adapter_configuration_come_out_every_time(fake: FakeHub, crawler: Crawl) -> None:
    config = json.dumps({"base_model_name_or_path": "acme/base"}).encode()
    child = fake.add_repo("acme/lora", {"adapter_config.json": config, "README.md": repository(1)["README.md"]}).hub_id
    for _ in range(2):
        (batch,) = crawler.run()
        found = {(d.child, d.base, d.source) for d in batch.declarations}
        assert found == {(child, "acme/base", source) for source in ("card", "tag", "adapter_config")}
    assert crawler.requests() == {"list": 1}


def test_an_unchanged_hub_costs_the_listing_and_nothing_else(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(5):
        fake.add_repo(f"acme/m{i}", repository(i))
    fake.add_repo("acme/gated", repository(9), gated="auto")
    fake.add_repo("acme/pickle", {"model.pkl": b""})
    first = crawler.models()
    assert crawler.models() == first
    assert crawler.requests() == {"list": 1}


def test_a_readme_commit_reads_no_weights(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/tiny", repository(1))
    half = {
        f"model-0000{i}-of-00002.safetensors": save({f"l{i}.weight": np.ones((64, 64), np.float32)}) for i in (1, 2)
    }
    fake.add_repo("acme/sharded", half)
    before = crawler.models()
    for name in before:
        fake.commit(name, {"README.md": b"# Better words\n"})
    after = crawler.models()
    assert crawler.requests() == {"list": 1, "resolve": 1, "tree": 1}
    for name, model in before.items():
        assert after[name].weights_digest == model.weights_digest and after[name].signature == model.signature
        assert after[name].revision != model.revision


def test_equal_weights_under_another_name_are_read_once(fake: FakeHub, crawler: Crawl) -> None:
    for name in ("acme/one", "acme/two", "other/copy"):
        fake.add_repo(name, {"model.safetensors": model_file(1)})
    counts = crawler.counts(CrawlOptions(workers=3))
    assert (counts["new"], counts["read"], counts["reused"]) == (3, 1, 2)


def test_new_weights_are_read(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/tiny", repository(1))
    before = crawler.models()["acme/tiny"]
    fake.commit("acme/tiny", {"model.safetensors": model_file(2)})
    after = crawler.models()["acme/tiny"]
    assert after.weights_digest != before.weights_digest and after.hub_id == before.hub_id
    assert crawler.sketches.get(after.weights_digest or "").digest == after.weights_digest


def test_a_renamed_repository_keeps_its_identity_and_costs_nothing(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/old", repository(1))
    before = crawler.models()["acme/old"]
    fake.rename("acme/old", "acme/new")
    after = crawler.models()
    assert after == {"acme/new": replace(before, repo_id="acme/new")}
    assert crawler.requests() == {"list": 1}


def test_a_lost_sketch_is_made_again(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/tiny", repository(1))
    digest = crawler.models()["acme/tiny"].weights_digest or ""
    for file in Path(crawler.sketches.address).rglob("*.safetensors"):
        file.unlink()
    assert crawler.counts()["read"] == 1
    assert crawler.sketches.signature_if_known(digest) is not None


def test_a_gated_repository_whose_weights_are_known_elsewhere_is_known(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/gated", repository(1), gated="manual")
    fake.add_repo("other/mirror", {"model.safetensors": model_file(1)})
    models = crawler.models(CrawlOptions(workers=1))
    assert models["acme/gated"].weights_digest == models["other/mirror"].weights_digest


def test_a_model_that_becomes_gated_stays_known_by_the_hashes_of_its_files(fake: FakeHub, crawler: Crawl) -> None:
    tensors = weights(4)
    halves = [*tensors.items()][:3], [*tensors.items()][3:]
    files = {f"part-{name}.safetensors": save(dict(half)) for name, half in zip("ab", halves, strict=True)}
    named = {name: f"part-{'ab'[i >= 3]}.safetensors" for i, name in enumerate(tensors)}
    fake.add_repo("acme/base", {**files, "model.safetensors.index.json": json.dumps({"weight_map": named}).encode()})
    before = crawler.models()["acme/base"]
    fake.repo("acme/base").gated = "manual"
    fake.commit("acme/base", {"README.md": b"---\nlicense: other\n---\n"})
    after = crawler.models()["acme/base"]
    assert (after.status, after.signature) == (Status.SKETCHED, before.signature) and after.revision != before.revision
    fake.commit("acme/base", {"part-b.safetensors": model_file(2)})
    assert (crawler.models()["acme/base"].status, crawler.models()["acme/base"].signature) == (Status.GATED, None)


def test_a_granted_token_opens_a_gated_repository(fake: FakeHub, sketches: SketchStore) -> None:
    fake.add_repo("acme/gated", repository(1), gated="manual")
    fake.add_token("hf_good", may_read=["acme/gated"])
    models = Crawl(fake, sketches, hub_at(fake, "hf_good")).models()
    assert models["acme/gated"].status is Status.SKETCHED


def test_a_token_set_later_is_tried_at_once_and_without_one_gated_stays_closed(
    fake: FakeHub, sketches: SketchStore
) -> None:
    fake.add_repo("acme/gated", repository(1), gated="manual")
    fake.add_token("hf_good", may_read=["acme/gated"])
    without, with_token = Crawl(fake, sketches), Crawl(fake, sketches, hub_at(fake, "hf_good"))
    assert without.models()["acme/gated"].status is Status.GATED
    without.run()
    assert without.requests() == {"list": 1}
    assert with_token.models()["acme/gated"].status is Status.SKETCHED


def test_a_walk_goes_on_after_the_last_acknowledged_page(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(12):
        fake.add_repo(f"acme/m{i:02}", repository(i))
    options = CrawlOptions(page_models=3)
    first = crawler.run(options, pages=3)  # the third page is not acknowledged
    rest = crawler.run(options)
    assert crawler.requests()["list"] == 2
    seen = [m.repo_id for b in (*first[:2], *rest) for m in b.models]
    assert sorted(seen) == [f"acme/m{i:02}" for i in range(12)]
    assert sum(b.counts["read"] for b in rest) == 3, "the sketches of the page that was lost are found by their digests"
    again = crawler.run(options)
    assert sum(b.counts["seen"] for b in again) == 12 and crawler.requests() == {"list": 4}


def test_a_cursor_that_the_hub_no_longer_knows_means_starting_over(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(6):
        fake.add_repo(f"acme/m{i}", repository(i))
    options = CrawlOptions(page_models=2)
    crawler.run(options, pages=2)
    fake.faults.status(400, kind="list", times=1)
    assert sum(b.counts["seen"] for b in crawler.run(options)) == 6


def test_filters_limit_and_names(fake: FakeHub, crawler: Crawl, tmp_path: Path) -> None:
    for i in range(6):
        fake.add_repo(f"acme/m{i}", {"README.md": b""}, tags=["even"] if i % 2 == 0 else [])
    fake.add_repo("other/x", {"README.md": b""})
    assert set(crawler.models(CrawlOptions(author="other"))) == {"other/x"}
    assert set(crawler.models(CrawlOptions(search="m3"))) == {"acme/m3"}
    assert set(crawler.models(CrawlOptions(filters=("even",)))) == {"acme/m0", "acme/m2", "acme/m4"}
    assert len(crawler.models(CrawlOptions(limit=4, page_models=3))) == 4
    named = crawler.run(CrawlOptions(repos=("acme/m1", "acme/none", "other/x")))
    assert {m.repo_id for b in named for m in b.models} == {"acme/m1", "other/x"}
    assert [f.kind for b in named for f in b.failures] == ["NoSuchRepository"]


def test_since_takes_what_changed_and_stops_there(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(20):
        fake.add_repo(f"acme/m{i:02}", {"README.md": b""}, created_at=DAY - timedelta(days=100 - i))
    fake.commit("acme/m03", {"README.md": b"new"}, date=DAY)
    options = CrawlOptions(since=DAY - timedelta(days=83), page_models=4)
    assert set(crawler.models(options)) == {"acme/m03", "acme/m17", "acme/m18", "acme/m19"}
    assert crawler.requests()["list"] == 2


def test_a_large_hub_is_walked_by_changes_after_the_first_time_and_whole_after_a_week(
    fake: FakeHub, crawler: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage.crawler.walk.LARGE_HUB_MODELS", 30)
    fake.make_lots(30, created_at=DAY - timedelta(days=90), step=timedelta(days=1))
    options = CrawlOptions(page_models=5)
    assert crawler.counts(options)["seen"] == 30
    fake.add_repo("acme/fresh", repository(1), created_at=DAY + timedelta(hours=1))
    crawler.now = DAY + timedelta(days=1)
    found = set(crawler.models(options))
    assert found == {"acme/fresh", "lots/model-000000029"}, "and what lies in the overlap"
    assert crawler.requests()["list"] == 2
    crawler.now = DAY + timedelta(days=8)
    assert crawler.counts(options)["seen"] == 31


def test_what_failed_is_tried_again_even_where_no_page_lists_it(
    fake: FakeHub, crawler: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage.crawler.walk.LARGE_HUB_MODELS", 2)
    for i in range(3):
        fake.add_repo(f"acme/m{i}", repository(i), created_at=DAY - timedelta(days=90 + i))
    with fake.faults.status(500, kind="resolve", match="acme/m1/"):
        crawler.run()
    crawler.now = DAY + timedelta(days=1)
    fake.faults.status(500, kind="info", times=9)
    assert [f.kind for b in crawler.run() for f in b.failures] == ["HubDown"]
    fake.faults.clear()
    crawler.now = DAY + timedelta(days=2)
    assert crawler.models()["acme/m1"] == open_and_sketch(crawler, "acme/m1")
    assert crawler.requests()["list"] == 1
    crawler.now = DAY + timedelta(days=3)
    assert set(crawler.models()) == {"acme/m0"}, "the newest one, in the overlap"


def open_and_sketch(crawler: Crawl, name: str) -> Model:
    opened = open_model(name, crawler.hub)
    return replace(opened.model, signature=group_signature(opened.header))


def test_one_failing_repository_stops_nothing_and_is_tried_again(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(4):
        fake.add_repo(f"acme/m{i}", repository(i))
    with fake.faults.status(500, kind="resolve", match="acme/m2/"):
        (batch,) = crawler.run()
    assert [(f.repo_id, f.kind) for f in batch.failures] == [("acme/m2", "HubDown")]
    assert batch.counts["read"] == 3
    (batch,) = crawler.run()
    assert batch.counts["again"] == 1 and batch.counts["sketched"] == 4 and not batch.failures


def test_a_passing_failure_takes_nothing_away_from_what_is_known(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/tiny", repository(1))
    before = crawler.models()["acme/tiny"]
    fake.commit("acme/tiny", {"model.safetensors": model_file(2)})
    with fake.faults.ignore_range():
        during = crawler.models()["acme/tiny"]
    assert (during.status, during.revision, during.signature) == (Status.SKETCHED, before.revision, before.signature)
    after = crawler.models()["acme/tiny"]
    assert after.weights_digest not in (None, before.weights_digest)


def test_a_revision_that_vanishes_between_listing_and_reading_is_a_passing_failure(
    fake: FakeHub, crawler: Crawl
) -> None:
    fake.add_repo("acme/tiny", repository(1))
    with fake.faults.status(404, kind="resolve", headers={"X-Error-Code": "RevisionNotFound"}):
        (batch,) = crawler.run()
    assert [f.kind for f in batch.failures] == ["NoSuchRevision"]
    assert crawler.models()["acme/tiny"].status is Status.SKETCHED


def test_a_storage_that_fails_for_everybody_stops_the_crawl(fake: FakeHub, crawler: Crawl) -> None:
    for i in range(30):
        fake.add_repo(f"acme/m{i}", repository(i))
    fake.faults.drop_connection(kind="cdn")
    with pytest.raises(Exception, match="failed") as failure:
        crawler.run()
    assert type(failure.value).__name__ == "StorageDown"


def test_a_dead_hub_and_a_bad_token_stop_the_crawl(fake: FakeHub, sketches: SketchStore) -> None:
    fake.add_repo("acme/tiny", repository(1))
    with pytest.raises(BadToken):
        Crawl(fake, sketches, hub_at(fake, "hf_wrong")).run()
    fake.faults.drop_connection(kind="list")
    with pytest.raises(HubDown):
        Crawl(fake, sketches).run()


def test_pages_that_are_too_heavy_for_the_hub_are_asked_for_smaller(fake: FakeHub, crawler: Crawl) -> None:
    fake.make_lots(130)
    with fake.faults.status(504, kind="list", match="limit=100"):
        assert crawler.counts(CrawlOptions(page_models=100))["seen"] == 130


@pytest.mark.parametrize("fault", ["loop_cursor", "repeat_page"])
def test_a_listing_that_leads_in_circles_is_left(fake: FakeHub, crawler: Crawl, fault: str) -> None:
    for i in range(40):
        fake.add_repo(f"acme/m{i}", {"README.md": b""})
    getattr(fake.faults, fault)()
    try:
        crawler.run(CrawlOptions(page_models=4))
    except UnexpectedAnswer as failure:
        assert "circles" in failure.message
    assert crawler.requests()["list"] < 15


def test_malformed_items_are_counted(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/tiny", repository(1))
    fake.faults.malformed_item({"id": "acme/x", "safetensors": {}})
    counts = crawler.counts()
    assert (counts["malformed"], counts["seen"], counts["read"]) == (1, 1, 1)


def test_wrong_bytes_with_right_headers_are_found_out_or_harmless(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/tiny", repository(1))
    fake.faults.other_bytes()
    assert crawler.models()["acme/tiny"].status is Status.UNREADABLE


def test_any_number_of_workers_gives_the_same(fake: FakeHub, tmp_path: Path) -> None:
    for i in range(12):
        fake.add_repo(f"acme/m{i}", repository(i % 5))
    one, many = (
        Crawl(fake, SketchStore(tmp_path / str(workers))).run(CrawlOptions(workers=workers, page_models=5))
        for workers in (1, 8)
    )
    assert [b.models for b in one] == [b.models for b in many]
    assert [b.declarations for b in one] == [b.declarations for b in many]


def test_a_folder_is_crawled_with_the_same_code_and_read_once(
    tmp_path: Path, sketches: SketchStore, fake: FakeHub
) -> None:
    for i in range(3):
        for name, content in repository(i).items():
            (tmp_path / "zoo" / f"m{i}").mkdir(parents=True, exist_ok=True)
            (tmp_path / "zoo" / f"m{i}" / name).write_bytes(content)
    (tmp_path / "zoo" / "pickle").mkdir()
    (tmp_path / "zoo" / "pickle" / "model.pkl").write_bytes(b"")
    crawler = Crawl(fake, sketches)
    options = CrawlOptions(folder=tmp_path / "zoo")
    models = crawler.models(options)
    paths = {str(tmp_path / "zoo" / name) for name in ("m0", "m1", "m2", "pickle")}
    assert set(models) == paths and all(models[p].hub_id == local_id(Path(p)) for p in paths)
    assert models[str(tmp_path / "zoo" / "m1")].license == "mit"
    (batch,) = crawler.run(options)
    assert (batch.counts["unchanged"], batch.counts["read"]) == (3, 0)
    assert {(d.base, d.source) for d in batch.declarations} == {("acme/base", "card")}
    assert fake.log() == []


def test_an_empty_folder_is_told(tmp_path: Path, crawler: Crawl) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableWeights, match="no model under") as failure:
        crawler.run(CrawlOptions(folder=tmp_path / "empty"))
    assert failure.value.exit_code == 4


def test_the_same_weights_have_the_same_digest_on_the_hub_and_on_disk(
    fake: FakeHub, crawler: Crawl, tmp_path: Path
) -> None:
    fake.add_repo("acme/tiny", {"model.safetensors": model_file(1)})
    (tmp_path / "x.safetensors").write_bytes(model_file(1))
    remote, local = crawler.models()["acme/tiny"], crawler.run(CrawlOptions(folder=tmp_path / "x.safetensors"))
    assert remote.weights_digest == local[0].models[0].weights_digest and local[0].counts["reused"] == 1


def test_a_single_model_is_opened_without_storing_anything(fake: FakeHub, tmp_path: Path) -> None:
    fake.add_repo("acme/tiny", repository(1))
    hub = hub_at(fake)
    first = hub.info("acme/tiny").sha
    fake.commit("acme/tiny", {"model.safetensors": model_file(2)})
    (tmp_path / "x.safetensors").write_bytes(model_file(1))
    pinned, newest = open_model(f"acme/tiny@{first}", hub), open_model("acme/tiny", hub)
    local = open_model(str(tmp_path / "x.safetensors"), hub)
    assert pinned.model.weights_digest == local.model.weights_digest != newest.model.weights_digest
    assert [t.name for t in pinned.header] == [t.name for t in local.header]
    blocks = plan(pinned.header)
    assert dict(pinned.read(blocks)) == dict(local.read(blocks)) != dict(newest.read(blocks))
    assert {d.base for d in newest.declarations} == {"acme/base"}


def test_an_unreadable_single_model_says_why(fake: FakeHub) -> None:
    fake.add_repo("acme/pickle", {"model.pkl": b""})
    opened = open_model("acme/pickle", hub_at(fake))
    assert opened.model.status is Status.UNREADABLE
    with pytest.raises(Exception, match="never opened") as failure:
        _ = opened.header
    assert getattr(failure.value, "exit_code", None) == 4


def test_sleeps_are_only_those_of_the_pacer(fake: FakeHub, sketches: SketchStore) -> None:
    fake.add_repo("acme/tiny", repository(1))
    sleeps = Sleeps()
    Crawl(fake, sketches, hub_at(fake, sleeps=sleeps)).run()
    assert sleeps == []


def test_bytes_that_were_garbled_once_are_read_again_and_damaged_ones_are_remembered(
    fake: FakeHub, crawler: Crawl
) -> None:
    fake.add_repo("acme/fine", repository(1))
    fake.add_repo("acme/parts", {f"step-{i}/model.safetensors": repository(i)["model.safetensors"] for i in (2, 3)})
    fake.faults.other_bytes()
    assert {model.status for model in crawler.models().values()} == {"unreadable"}
    fake.faults.clear()
    found = {name: model.status for name, model in crawler.models().items()}
    assert found["acme/fine"] == found["acme/parts/step-2"] == found["acme/parts/step-3"] == "sketched"
    fake.add_repo("acme/broken", {"model.safetensors": raw_header(b"nonsense")})
    fake.add_repo("acme/half", {"a/model.safetensors": raw_header(b"nonsense"), "b/model.safetensors": b"no header"})
    crawler.run()
    crawler.run()
    crawler.run()
    assert crawler.requests().keys() == {"list"}, "what was refused twice with the same words is not read again"
