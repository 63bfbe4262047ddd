"""Which models are gone from the Hub: their edges, samples and answers stay, so that nothing else tells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.walk import BATCH

_LAST_DAY = re.compile(r"and on (\d{4}-\d\d-\d\d):")  # in the reason, see crawler/visit.py


def gone_among(store: GraphReader, models: Iterable[str]) -> list[str]:
    """Names of those of some models (hub_ids) that are gone."""
    ids, found = list(models), []
    for start in range(0, len(ids), BATCH):
        rows = store.read(load("gone_among").text, {"models": ids[start : start + BATCH]})
        found += [row["repo_id"] for row in rows]
    return found


def gone_since(store: GraphReader, day: date) -> list[str]:
    """Names of the models that were found to be gone on a day or later."""
    rows = store.read(load("gone").text, {})
    days = ((row["repo_id"], _LAST_DAY.search(row["reason"] or "")) for row in rows)
    return [name for name, last in days if last is not None and date.fromisoformat(last[1]) >= day]
