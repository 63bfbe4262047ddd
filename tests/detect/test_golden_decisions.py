"""What is decided about frozen families does not change by itself."""

import json

import pytest

from lineage.detect import acceptance, ancestor, missing_parent, root, tree
from lineage.detect.signals import exact_retention
from tests.detect.golden_decisions import FILE, decided


def test_every_decision_is_the_one_that_was_kept():
    kept = json.loads(FILE.read_text())
    assert dict(decided()) == kept, (
        "if the change is meant, `python -m tests.detect.golden_decisions` writes the decisions anew"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (root, "DETECTOR", 0.0),
        (root, "CAME_AFTER", 0.0),
        (root, "POWER", 1.0),
        (root, "HUB", 0.0),
        (tree, "SLOPE_LIMIT", 0.9),
        (exact_retention, "FEWEST", 10**9),
        (ancestor, "SHARPENED", 1.0),
        (missing_parent, "CROWD", 0.0),
        (missing_parent, "CLAIMED", 0.0),
        (acceptance, "NEARLY_EQUAL", 0.9),
        (acceptance, "NEARLY_EQUAL", 0.0),
        (acceptance, "TURNED_ROUND_LOG_ODDS", 100.0),
    ],
)
def test_a_rule_that_is_left_out_shows_in_the_decisions(monkeypatch, module, name, value):
    monkeypatch.setattr(module, name, value)
    kept = json.loads(FILE.read_text())
    assert any(found != kept[name] for name, found in decided())


def test_nothing_is_undecided_with_a_probability_that_would_assert_it():
    kept = [line for family in json.loads(FILE.read_text()).values() for line in family.values()]
    unsure = [float(line.split()[3]) for line in kept if line.startswith("undecided")]
    assert len(unsure) > 5 and max(unsure) < 0.8
