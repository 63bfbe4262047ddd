"""`lineage methods`, and other methods than ours, as a person asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage.detect.methods.registry import METHODS
from tests.builders import start, three_generations, write
from tests.cli.command import Command
from tests.cli.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def family(tmp_path: Path) -> Path:
    write(tmp_path / "family", three_generations()[0])
    return tmp_path / "family"


def test_all_methods_are_listed_with_source_needs_and_options(offline: Command) -> None:
    listed = offline("methods", "--json").json
    assert [row["name"] for row in listed] == [method.name for method in METHODS]
    assert all(row.keys() == {"name", "summary", "source", "needs", "settings", "version", "reason"} for row in listed)
    text = offline("methods").stdout
    missing = [method.name for method in METHODS if f"\n{method.name}   " not in f"\n{text}"]
    assert not missing, text
    assert "alpha=1.0" in text


def test_a_scan_by_another_method_keeps_the_contract(offline: Command, family: Path) -> None:
    done = offline("scan", family, "--method", "np-kmeans", "--method-option", "clusters=2", "--json")
    assert done.code == 0, done.stderr
    found = done.json
    assert len(found["edges"]) + len(found["roots"]) == 8 and found["undecided"] == []
    assert {tuple(edge["decided_by"]) for edge in found["edges"]} == {("np-kmeans",)}
    assert len(found["roots"]) == 2


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["--method", "np-kmeans", "--method-option", "k=2"], 2, "has no option 'k'"),
        (["--method", "np-kmeans", "--method-option", "clusters=two"], 2, "a whole number"),
        (["--method", "kmeans"], 2, "is not one of"),
        (["--method", "nl-cka"], 2, "forward passes"),
        (["--method", "nl-cka", "--forward", "json:loads"], 2, "--batch"),
        (["--method", "nl-cka", "--batch", "none.safetensors"], 2, "--forward"),
        (["--method", "nl-cka", "--forward", "no.such:thing", "--batch", "none.safetensors"], 2, "no.such:thing"),
        (["--method", "np-detector"], 2, "trained network"),
        (["--method", "mother"], 4, "square matrices"),
        (["--method", "atlas"], 4, "date"),
    ],
)
def test_what_a_method_lacks_is_told(
    offline: Command, family: Path, arguments: list[str], code: int, said: str
) -> None:
    done = offline("scan", family, *arguments)
    assert done.code == code and done.stdout == ""
    assert said in done.stderr and len(done.told) <= 4


def test_one_model_alone_is_a_failure_and_among_others_undecided(offline: Command, family: Path) -> None:
    write(family / "other", {"x": start(7, {"w.weight": (16, 8)})})
    alone = offline("scan", family / "other", "--method", "min-norm")
    assert alone.code == 4 and "needs 2 models" in alone.stderr
    found = offline("scan", family, "--method", "min-norm", "--json").json
    assert [row["child"] for row in found["undecided"]] == ["other/x"]
    assert "needs 2 models" in found["undecided"][0]["reason"] and found["edges"]


def test_the_graph_keeps_which_method_found_an_edge(own_world: World) -> None:
    lineage = own_world.lineage
    done = lineage("detect", "--method", "nearest", "--json")
    assert done.code == 0, done.stderr
    question = "MATCH ()-[r:FINE_TUNED_FROM]->() RETURN DISTINCT r.method AS method"
    assert lineage("cypher", question, "--json").json == [{"method": "nearest"}]
    lineage("detect", "--json")
    assert lineage("cypher", question, "--json").json == [{"method": "lineage"}]
