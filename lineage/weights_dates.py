"""Since when a repository has had its weights: those of a repository that held others at an earlier crawl are younger than it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from lineage.graphdb.schema import LOCAL, Model

if TYPE_CHECKING:
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.store import Store


def with_weights_dates(models: Iterable[Model], store: Store, sketches: SketchStore, now: datetime) -> list[Model]:
    """Models as they were just seen, before they are written, each with the date of its weights where these have changed.

    The same values in other files, as another format or other shards, are no other weights.

    Args:
        now: the date of weights of a repository that says nothing of its last change.
    """
    found = list(models)
    before = store.weights_seen(m.hub_id for m in found if m.weights_digest and not m.hub_id.startswith(LOCAL))
    for place, model in enumerate(found):
        old = before.get(model.hub_id)
        if old is None or model.weights_digest is None or _same_values(old, model.weights_digest, sketches):
            continue
        found[place] = replace(model, weights_since=model.last_modified or now)
    return found


def _same_values(one: str, other: str, sketches: SketchStore) -> bool:
    from lineage.detect.signals.content import copies

    if one == other:
        return True
    found = list(sketches.many((one, other)))
    return len(found) == 2 and bool(copies(found))
