"""The date of a repository's weights, where a crawl saw other ones in it before."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Model, Status
from lineage.graphdb.store import Store
from lineage.weights_dates import with_weights_dates
from tests.builders import sketch_of, start

DAY_1, DAY_60, DAY_90 = (datetime(2025, month, 1, tzinfo=UTC) for month in (1, 3, 4))


class NoSamples:
    """A sketch store without a sample."""

    def many(self, digests: object) -> list[object]:
        return []


def seen(store: Store, digest: str | None, changed: datetime) -> Model:
    status = Status.SKETCHED if digest else Status.GATED
    model = Model("1", "a/b", status, weights_digest=digest, created_at=DAY_1, last_modified=changed)
    store.upsert_models(with_weights_dates([model], store, NoSamples(), DAY_90))  # type: ignore[arg-type]
    stored = store.model("1")
    assert stored is not None
    return stored


def test_weights_are_as_old_as_the_repository_until_they_change(store: Store) -> None:
    assert seen(store, "a" * 64, DAY_1).weights_date == DAY_1
    assert seen(store, "a" * 64, DAY_60).weights_date == DAY_1
    assert seen(store, "b" * 64, DAY_60).weights_date == DAY_60
    assert seen(store, "b" * 64, DAY_90).weights_date == DAY_60


def test_weights_that_could_not_be_seen_for_a_while_have_not_changed(store: Store) -> None:
    seen(store, "a" * 64, DAY_1)
    seen(store, None, DAY_60)
    assert seen(store, "a" * 64, DAY_60).weights_date == DAY_1
    seen(store, None, DAY_60)
    assert seen(store, "b" * 64, DAY_90).weights_date == DAY_90


def test_the_same_values_in_other_files_are_no_other_weights(store: Store, tmp_path: Path) -> None:
    samples = SketchStore(tmp_path)
    kept = [sketch_of(start(seed), name) for seed, name in ((0, "pytorch_model"), (0, "model"), (1, "model"))]
    for sketch in kept:
        samples.keep(sketch)
    dates = []
    for sketch, changed in zip(kept, (DAY_1, DAY_60, DAY_90), strict=True):
        model = Model(
            "1", "a/b", Status.SKETCHED, weights_digest=sketch.digest, created_at=DAY_1, last_modified=changed
        )
        store.upsert_models(with_weights_dates([model], store, samples, DAY_90))
        stored = store.model("1")
        dates.append(stored and stored.weights_date)
    assert dates == [DAY_1, DAY_1, DAY_90]
