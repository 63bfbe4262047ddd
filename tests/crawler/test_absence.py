"""What is on no page: deleted, private, renamed, replaced, or only left out by a flaky listing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Model, Status
from lineage.graphdb.store import open_store
from tests.crawler.crawls import DAY, Crawl
from tests.crawler.toys import hub_at, repository
from tests.fake_hub import FakeHub

ONE_DAY = timedelta(days=1)


@pytest.fixture
def three(fake: FakeHub) -> FakeHub:
    for i in range(3):
        fake.add_repo(f"acme/m{i}", repository(i), created_at=DAY - timedelta(days=30 - i))
    return fake


def gone(models: dict[str, Model]) -> set[str]:
    return {name for name, model in models.items() if model.status is Status.GONE}


def test_a_deleted_repository_is_gone_only_after_two_answers_on_different_days(three: FakeHub, crawler: Crawl) -> None:
    crawler.run()
    three.delete("acme/m1")
    for _ in range(2):
        assert set(crawler.models()) == {"acme/m0", "acme/m2"}, "one day's answers are not enough"
    assert crawler.requests() == {"list": 1}, "once a day is enough to ask"
    crawler.now += ONE_DAY
    models = crawler.models()
    assert gone(models) == {"acme/m1"} and crawler.requests() == {"list": 1, "info": 1}
    assert "2026-10-01 and on 2026-10-02" in (models["acme/m1"].reason or "")
    crawler.now += ONE_DAY
    assert set(crawler.models()) == {"acme/m0", "acme/m2"} and crawler.requests() == {"list": 1}


def test_a_page_that_leaves_a_model_out_changes_nothing(three: FakeHub, crawler: Crawl) -> None:
    before = crawler.models()
    three.repo("acme/m1").private = True  # no page shows it
    assert crawler.counts()["missing"] == 1
    three.repo("acme/m1").private = False
    crawler.now += ONE_DAY
    assert crawler.models() == before
    three.repo("acme/m1").private = True
    crawler.now += ONE_DAY
    assert gone(crawler.models()) == set(), "the count begins anew"


def test_a_model_that_comes_back_is_taken_up_without_reading_it_again(three: FakeHub, crawler: Crawl) -> None:
    before = crawler.models()["acme/m1"]
    three.repo("acme/m1").private = True
    for _ in range(2):
        crawler.run()
        crawler.now += ONE_DAY
    three.repo("acme/m1").private = False
    assert crawler.models()["acme/m1"] == before
    assert "cdn" not in crawler.requests()


def test_server_errors_are_no_answer(three: FakeHub, crawler: Crawl) -> None:
    crawler.run()
    three.delete("acme/m1")
    with three.faults.status(503, kind="info"):
        for _ in range(3):
            assert gone(crawler.models()) == set()
            crawler.now += ONE_DAY


def test_a_repository_made_again_under_its_name_is_another_model(
    fake: FakeHub, sketches: SketchStore, tmp_path: Path
) -> None:
    old = fake.add_repo("acme/m", repository(1), created_at=DAY - timedelta(days=9)).hub_id
    fake.add_repo("acme/other", repository(2))
    crawler = Crawl(fake, sketches)
    crawler.run()
    fake.delete("acme/m")
    new = fake.add_repo("acme/m", repository(3), created_at=DAY, hub_id="f" * 24).hub_id
    found: list[Model] = []
    for _ in range(2):
        found += [model for batch in crawler.run() for model in batch.models if model.repo_id != "acme/other"]
        crawler.now += ONE_DAY
    last = {model.hub_id: model for model in found}
    assert last[old].status is Status.GONE and "another repository has its name" in (last[old].reason or "")
    assert last[new].status is Status.SKETCHED
    with open_store(str(tmp_path / "store")) as store:
        store.init()
        store.upsert_models(found)
        known = store.model("acme/m")
        assert known is not None and known.hub_id == new


def test_a_moved_repository_keeps_its_identity_and_its_former_name(
    three: FakeHub, sketches: SketchStore, tmp_path: Path
) -> None:
    with open_store(str(tmp_path / "store")) as store:
        for name in ("acme/m1", "Other/Moved"):
            if name != "acme/m1":
                three.rename("acme/m1", name)
            crawl_into(store, sketches, tmp_path / "progress.sqlite", CrawlOptions(), hub=hub_at(three))
            model = store.model(name)
            assert model is not None and model.status is Status.SKETCHED and model.repo_id == name
        former, other_case = store.model("acme/m1"), store.model("OTHER/moved")
        assert former == other_case == model
        assert store.counts().get("status.gone", 0) == 0


def test_the_claims_of_a_model_that_is_gone_stay_in_the_graph(
    three: FakeHub, sketches: SketchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        shift = timedelta(0)

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return DAY + cls.shift

    monkeypatch.setattr("lineage.crawler.walk.datetime", Clock)
    with open_store(str(tmp_path / "store")) as store:
        for day in range(3):
            Clock.shift = day * ONE_DAY
            crawl_into(store, sketches, tmp_path / "progress.sqlite", CrawlOptions(), hub=hub_at(three))
            claims = store.read(
                "MATCH (m:Model {repo_id: 'acme/m1'}) RETURN m.status AS status, m.signature AS signature"
            )
            if day == 0:
                before = store.counts()
                three.delete("acme/m1")
        assert claims[0]["status"] == "gone" and claims[0]["signature"]
        after = store.counts()
    del before["status.sketched"], after["status.sketched"], after["status.gone"]
    assert before == after


def test_what_is_disabled_or_gated_is_looked_at_again_when_it_no_longer_is(three: FakeHub, crawler: Crawl) -> None:
    three.repo("acme/m0").disabled = True
    three.repo("acme/m1").gated = "auto"
    models = crawler.models()
    assert models["acme/m0"].status is Status.UNREADABLE and models["acme/m1"].status is Status.GATED
    three.repo("acme/m0").disabled = False
    three.repo("acme/m1").gated = False
    assert {model.status for model in crawler.models().values()} == {Status.SKETCHED}


def test_a_listing_that_shrank_is_not_believed(fake: FakeHub, crawler: Crawl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage.crawler.walk.SHRUNK_MODELS", 10)
    fake.make_lots(50)
    crawler.run()
    with fake.faults.replace_json([], kind="list"):
        crawler.now += ONE_DAY
        assert crawler.counts() == {} and crawler.requests() == {"list": 1}
    crawler.now += ONE_DAY
    assert crawler.counts()["seen"] == 50 and crawler.requests() == {"list": 1}


def test_part_of_the_hub_says_nothing_about_the_rest(three: FakeHub, crawler: Crawl) -> None:
    three.add_repo("other/x", repository(7))
    crawler.run()
    for _ in range(3):
        crawler.now += ONE_DAY
        assert crawler.counts(CrawlOptions(author="acme"))["missing"] == 0
    assert crawler.requests() == {"list": 1}


# --- passes by last change -----------------------------------------------------------------------------------------------


@pytest.fixture
def large(fake: FakeHub, crawler: Crawl, monkeypatch: pytest.MonkeyPatch) -> Crawl:
    """A Hub of 60 models, seen once, that counts as large."""
    monkeypatch.setattr("lineage.crawler.walk.LARGE_HUB_MODELS", 30)
    fake.make_lots(60, created_at=DAY - timedelta(days=90), step=ONE_DAY)
    assert crawler.counts(CrawlOptions(page_models=10))["seen"] == 60
    return crawler


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400)])
def test_a_clock_that_jumped_during_a_pass_hides_no_change(fake: FakeHub, large: Crawl, jump: timedelta) -> None:
    large.now = DAY + jump
    large.run(CrawlOptions(page_models=10))
    fake.add_repo("acme/fresh", repository(1), created_at=DAY + timedelta(hours=2))
    large.now = DAY + ONE_DAY
    assert "acme/fresh" in large.models(CrawlOptions(page_models=10))


@pytest.mark.slow
def test_changes_that_reach_the_listing_late_are_caught_by_the_overlap(fake: FakeHub, large: Crawl) -> None:
    fake.add_repo("acme/first", repository(1), created_at=DAY)
    large.now = DAY + timedelta(hours=1)
    assert set(large.models(CrawlOptions(page_models=10))) >= {"acme/first"}
    fake.add_repo("acme/late", repository(2), created_at=DAY - timedelta(minutes=30))
    large.now = DAY + ONE_DAY
    assert set(large.models(CrawlOptions(page_models=10))) == {"acme/first", "acme/late"}


def test_one_item_with_an_old_date_does_not_end_a_pass(fake: FakeHub, large: Crawl) -> None:
    for i in range(12):
        fake.add_repo(f"acme/m{i:02}", {"README.md": b""}, created_at=DAY + timedelta(minutes=i))
    for name in ("acme/m03", "acme/m07"):
        fake.repo(name).overrides = {"lastModified": "2022-03-02T23:29:04.000Z"}
    large.now = DAY + ONE_DAY
    found = large.models(CrawlOptions(page_models=10))
    assert {f"acme/m{i:02}" for i in range(12)} - set(found) == {"acme/m03", "acme/m07"}


def test_a_date_in_the_future_hides_nothing_that_comes_before_it(fake: FakeHub, large: Crawl) -> None:
    fake.add_repo("acme/future", {"README.md": b""}, created_at=datetime(2099, 1, 1, tzinfo=UTC))
    large.now = DAY + timedelta(hours=1)
    large.run(CrawlOptions(page_models=10))
    fake.add_repo("acme/fresh", {"README.md": b""}, created_at=DAY + timedelta(hours=5))
    large.now = DAY + ONE_DAY
    assert "acme/fresh" in large.models(CrawlOptions(page_models=10))


def test_what_disappears_from_a_large_hub_is_found_by_the_weekly_pass_and_settled_by_the_next_night(
    fake: FakeHub, large: Crawl
) -> None:
    fake.add_repo("acme/short-lived", {"README.md": b""}, created_at=DAY + timedelta(hours=1))
    large.now = DAY + ONE_DAY
    large.run(CrawlOptions(page_models=10))
    fake.delete("acme/short-lived")
    for days, expected in ((2, set()), (8, set()), (9, {"acme/short-lived"})):
        large.now = DAY + timedelta(days=days)
        assert gone(large.models(CrawlOptions(page_models=10))) == expected, days
    assert large.requests() == {"list": 1, "info": 1}


def test_progress_of_the_former_version_is_taken_over(tmp_path: Path, fake: FakeHub, sketches: SketchStore) -> None:
    import sqlite3

    from lineage.crawler.progress import VERSION

    crawler = Crawl(fake, sketches)
    fake.add_repo("acme/m", repository(1))
    crawler.run()
    with sqlite3.connect(crawler.progress_file) as database:
        database.executescript(
            "DROP TABLE presence; DROP TABLE waiting; DROP TABLE shape; ALTER TABLE walk DROP COLUMN newest; "
            "ALTER TABLE done DROP COLUMN quantisation; PRAGMA user_version = 1"
        )
    assert VERSION > 1 and crawler.counts()["unchanged"] == 1
