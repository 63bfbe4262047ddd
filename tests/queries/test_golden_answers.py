"""Every question asked of one small graph gives the answer in `golden.json`, on both stores. `python -m tests.queries.golden`
writes the answers anew, from the embedded store: read the difference before you keep it."""

from __future__ import annotations

import json

from lineage.graphdb.store import Store
from lineage.queries import load, names
from tests.queries.golden import FILE, answer, tell


def test_every_question_gives_its_golden_answer_in_its_columns(store: Store) -> None:
    tell(store)
    golden = json.loads(FILE.read_text(encoding="utf-8"))
    assert sorted(golden) == names()
    for name in names():
        found = answer(store, name)
        assert found == golden[name], name
        assert found, name
        assert {tuple(row) for row in found} == {load(name).columns}, name
