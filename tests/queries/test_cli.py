"""The commands that ask the graph, as scripts and people use them, on every kind of store."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lineage.commands import main
from lineage.commands.ask import ask
from lineage.graphdb.schema import Declaration, Model, NoSuchModel, Relation, Status, Verdict
from lineage.graphdb.store import open_store
from tests.graphs import a_model, an_edge

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(store_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `lineage ARGUMENTS --store …` on a small family: exit code, stdout, stderr.

    a -> b -> d, a -> c, (b, c) -> e by merging, f apart, and c may be from b.
    """
    with open_store(store_url) as store:
        store.upsert_models([a_model(name) for name in "abcdef"])
        edges = [
            an_edge("b", "a", 0.9),
            an_edge("c", "a", 0.8),
            an_edge("c", "b", 0.3, kind=Relation.POSSIBLE_PARENT),
            an_edge("d", "b", 0.95, kind=Relation.COPY_OF),
            an_edge("e", "b", 0.7, kind=Relation.MERGED_FROM),
            an_edge("e", "c", 0.6, kind=Relation.MERGED_FROM),
        ]
        scope = [f"id-{name}" for name in "abcdef"]
        store.replace_edges(scope, edges, [Verdict("id-a", "root", "oldest", 0.9)], "run-1")
        claims = [Declaration("id-b", "org/f", "finetune", "card"), Declaration("id-b", "org/f", None, "tag")]
        store.upsert_declarations(["id-b", "id-c"], claims)
        store.link_declarations()

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--store", store_url])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def embedded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The same on an embedded store with one edge."""
    place = str(tmp_path / "embedded")
    with open_store(place) as store:
        store.upsert_models([a_model(name) for name in "ab"])
        verdict = Verdict("id-b", "parent", "why", 0.9)
        store.replace_edges(["id-a", "id-b"], [an_edge("b", "a", 0.9)], [verdict], "run-1")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--store", place])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def rows(*values: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [
        {"repo_id": name, "depth": depth, "kind": kind, "probability": probability, "model": name, "relation": kind}
        for name, depth, kind, probability in values
    ]


def test_json_is_a_list_of_models_with_depth_kind_and_probability(run: Run) -> None:
    code, out, err = run("ancestors", "org/e", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == rows(
        ("org/b", 1, "MERGED_FROM", 0.7), ("org/c", 1, "MERGED_FROM", 0.6), ("org/a", 2, "FINE_TUNED_FROM", 0.9)
    )
    _, out, _ = run("descendants", "ORG/A", "--json", "--depth", "1")
    assert json.loads(out) == rows(("org/b", 1, "FINE_TUNED_FROM", 0.9), ("org/c", 1, "FINE_TUNED_FROM", 0.8))
    _, out, _ = run("descendants", "id-a", "--json", "--min-probability", "0.85")
    assert json.loads(out) == rows(("org/b", 1, "FINE_TUNED_FROM", 0.9), ("org/d", 2, "COPY_OF", 0.95))
    _, out, _ = run("descendants", "org/b", "--json", "--kind", "copy_of", "--kind", "POSSIBLE_PARENT")
    assert json.loads(out) == rows(("org/c", 1, "POSSIBLE_PARENT", 0.3), ("org/d", 1, "COPY_OF", 0.95))
    _, out, _ = run("siblings", "org/d", "--json")
    assert json.loads(out) == rows(("org/e", 1, "MERGED_FROM", 0.7))
    _, out, _ = run("tree", "org/d", "--json")
    assert [(row["repo_id"], row["depth"]) for row in json.loads(out)] == [
        ("org/a", 0), ("org/b", 1), ("org/c", 1), ("org/d", 2), ("org/e", 2)
    ]  # fmt: skip
    _, out, _ = run("path", "org/d", "org/c", "--json")
    assert [(row["repo_id"], row["direction"], row["kind"]) for row in json.loads(out)] == [
        ("org/d", None, None),
        ("org/b", "up", "COPY_OF"),
        ("org/a", "up", "FINE_TUNED_FROM"),
        ("org/c", "down", "FINE_TUNED_FROM"),
    ]
    _, out, _ = run("common-ancestor", "org/d", "org/e", "--json")
    assert [(row["repo_id"], row["depth"], row["depth_a"], row["depth_b"]) for row in json.loads(out)] == [
        ("org/b", 1, 1, 1),
        ("org/a", 2, 2, 2),
    ]
    _, out, _ = run("roots", "--json")
    (top,) = rows(("org/a", 0, None, None))
    assert json.loads(out) == [{**top, "children": 2}]


@pytest.mark.slow
def test_every_question_about_the_whole_graph_is_a_command(run: Run) -> None:
    for command, columns in (
        (("leaves",), "repo_id,parent,kind,probability"),
        (("families",), "repo_id,children,descendants"),
        (("as-of", "org/d", "2100-01-01"), "repo_id,kind,probability,run_id,verified_at,superseded_at"),
        (("changes", "2020-01-01"), "changed_at,change,child,kind,parent,probability,run_id"),
        (("roots",), "repo_id,depth,kind,probability,children"),
        (("declared",), "repo_id,agreement,reason,declared,detected"),
        (("licences", "org/e"), "repo_id,depth,kind,probability,license,outcome,reason"),
        (("blast-radius", "org/a"), "repo_id,depth,kind,weakest,way"),
        (("descendants", "org/a"), "repo_id,depth,kind,probability"),
        (("path", "org/d", "org/a"), "repo_id,depth,kind,probability,direction,decided_by"),
    ):
        code, out, err = run(*command, "--csv")
        assert (code, err, out.splitlines()[0]) == (0, "", columns), command
        _, as_json, _ = run(*command, "--json")
        assert len(json.loads(as_json)) == len(list(csv.reader(io.StringIO(out)))) - 1, command
        assert len(run(*command)[1].splitlines()) > 1, command
    for command in (("copies",), ("stale",), ("orphans",), ("as-of", "org/d", "2000-01-01"), ("changes", "2100-01-01")):
        code, out, err = run(*command)
        assert (code, out, len(err.splitlines())) == (0, "", 1), command
        only_names = run(*command, "--csv")[1].splitlines()
        assert len(only_names) == 1 and len(only_names[0].split(",")) > 2, command
        assert json.loads(run(*command, "--json")[1]) == []


def test_a_flaw_is_followed_over_the_surest_way(run: Run) -> None:
    found = json.loads(run("blast-radius", "org/a", "--json")[1])
    assert [(row["repo_id"], row["depth"], row["weakest"]) for row in found] == [
        ("org/b", 1, 0.9), ("org/d", 2, 0.9), ("org/c", 1, 0.8), ("org/e", 2, 0.7)
    ]  # fmt: skip
    assert found[3]["way"] == ["org/a", "org/b", "org/e"]
    assert "org/a > org/b > org/e" in run("blast-radius", "org/a")[1]


def test_a_flaw_is_in_every_model_with_the_same_files(run: Run, store_url: str) -> None:
    with open_store(store_url) as store:
        store.upsert_models([a_model("f", weights_digest="digest-b")])
    assert "org/f  1      same files  >0.99    org/b > org/f" in run("blast-radius", "org/b")[1]
    assert 'label="same files' in run("blast-radius", "org/f", "--format", "dot")[1]
    assert json.loads(run("blast-radius", "org/f", "--json")[1])[0]["relation"] == "SAME_FILES"
    code, out, err = run("descendants", "org/b", "--json")
    assert code == 0 and [row["model"] for row in json.loads(out)] == ["org/d", "org/e"]
    assert "the same files are in org/f; `lineage blast-radius` follows them too" in err
    assert not run("descendants", "org/a")[2]


def test_a_model_that_is_gone_from_the_hub_is_called_so(run: Run, store_url: str) -> None:
    why = "the Hub said on 2026-01-02 and on 2026-01-05: the repository does not exist or is private"
    with open_store(store_url) as store:
        store.upsert_models([Model("id-b", "org/b", Status.GONE, reason=why)])
    for command in ("ancestors org/e", "descendants org/a", "tree org/c", "blast-radius org/a", "ancestors org/b"):
        assert "gone from the Hub: org/b\n" in run(*command.split())[2], command
    assert "gone" not in run("ancestors", "org/c")[2]
    assert "6 models of 1 architecture, 1 of them gone from the Hub" in run("status")[1]
    assert "gone from the Hub since 2026-01-05: org/b" in run("changes", "2026-01-05")[2]
    assert "gone" not in run("changes", "2026-01-06")[2]
    said = " ".join(run("who-is-parent", "org/b")[1].split())
    assert f"status gone from the Hub: {why}" in said
    assert json.loads(run("who-is-parent", "org/b", "--json")[1])["status"] == "gone"
    page = run("report", "org/b", "--format", "md", "-o", "-")[1]
    assert "It is gone from the Hub" in page and "could not be read" not in page


def test_a_model_that_claims_itself_is_no_orphan_and_a_base_is_named_once(run: Run, store_url: str) -> None:
    claims = [Declaration("id-f", "Org/F", None, "card"), Declaration("id-f", "org/f", "finetune", "tag")]
    claims += [Declaration("id-a", "far/off", None, source) for source in ("card", "tag")]
    with open_store(store_url) as store:
        store.upsert_declarations(["id-f", "id-a"], claims)
        store.link_declarations()
    rows = run("orphans")[1].splitlines()
    assert [row.split() for row in rows] == [["model", "answer", "declared"], ["org/a", "root", "far/off"]]
    assert json.loads(run("orphans", "--json")[1])[0]["declared"] == ["far/off"]


def test_one_generation_can_be_asked_for(run: Run) -> None:
    assert [row["repo_id"] for row in json.loads(run("ancestors", "org/e", "--generation", "2", "--json")[1])] == [
        "org/a"
    ]
    assert json.loads(run("ancestors", "org/e", "--generation", "3", "--json")[1]) == []


def test_one_model_is_exported_with_its_ancestry(run: Run, tmp_path: Path) -> None:
    document = json.loads(run("graph", "export", "--format", "cyclonedx", "--model", "org/e")[1])
    assert {above["name"] for above in document["metadata"]["component"]["pedigree"]["ancestors"]} == {"org/b", "org/c"}
    assert run("graph", "export", "--format", "spdx", "--model", "org/e", "-o", str(tmp_path / "e.json"))[0] == 0
    assert len(json.loads((tmp_path / "e.json").read_text())["@graph"]) > 8
    assert run("graph", "export", "--format", "newick", "--model", "org/e")[1].endswith("'org/a';\n")
    assert run("graph", "export", "--format", "spdx")[0] == 2
    family = json.loads(run("graph", "export", "--model", "org/d")[1])  # every other format writes its family
    assert {"org/a", "org/b", "org/d", "org/e"} <= {node["repo_id"] for node in family["nodes"]}
    assert run("graph", "export", "--format", "spdx", "--model", "org/nobody")[0] == 4


def test_an_answer_of_nothing_is_an_empty_list_and_exit_code_0(run: Run) -> None:
    for arguments in (
        ("ancestors", "org/a"),
        ("descendants", "org/f"),
        ("siblings", "org/f"),
        ("path", "org/a", "org/f"),
    ):
        code, out, _ = run(*arguments, "--json")
        assert (code, json.loads(out)) == (0, [])
        code, out, err = run(*arguments)
        assert (code, out) == (0, "")
        assert "org/" in err


def test_people_get_tables_and_trees(run: Run) -> None:
    code, out, _ = run("ancestors", "org/e")
    assert code == 0
    assert out.splitlines()[:2] == [
        "depth  model  relation    probability",
        "1      org/b  merge       0.70",
    ]
    code, out, _ = run("tree", "org/c")
    assert out.splitlines() == [
        "org/a",
        "├── org/b  fine-tuned 0.90",
        "│   ├── org/d  copy 0.95",
        "│   └── org/e  merge 0.70  also from org/c",
        "└── org/c  fine-tuned 0.80",
    ]
    code, out, _ = run("path", "org/d", "org/a")
    assert out.splitlines() == ["org/d", "  is from org/b  copy 0.95", "  is from org/a  fine-tuned 0.90"]
    assert run("roots")[0] == run("common-ancestor", "org/d", "org/e")[0] == run("siblings", "org/d")[0] == 0


def test_an_unknown_model_is_exit_code_4_with_a_suggestion(run: Run) -> None:
    for command in (
        ("ancestors",),
        ("descendants",),
        ("siblings",),
        ("tree",),
        ("path", "org/a"),
        ("common-ancestor", "org/a"),
    ):
        code, out, err = run(*command, "org/bb")
        assert (code, out) == (4, "")
        assert "org/bb" in err.splitlines()[0]
        assert "org/b" in err.splitlines()[1]


def test_wrong_usage_is_exit_code_2(run: Run) -> None:
    for arguments in (
        ("ancestors",),
        ("ancestors", "org/a", "--depth", "0"),
        ("ancestors", "org/a", "--kind", "UNCLE_OF"),
        ("ancestors", "org/a", "--min-probability", "7"),
        ("cypher", "RETURN 1", "--param", "novalue"),
        ("cypher", "RETURN 1", "--json", "--csv"),
    ):
        assert run(*arguments)[0] == 2


def test_cypher_answers_as_table_json_and_csv(run: Run) -> None:
    statement = "MATCH (m:Model) WHERE m.repo_id IN $names RETURN m.repo_id AS name, m.answer AS answer, [1, 'x'] AS list ORDER BY name"
    names = '--param=names=["org/a", "org/f"]'
    code, out, _ = run("cypher", statement, names, "--json")
    assert (code, json.loads(out)) == (
        0,
        [{"name": "org/a", "answer": "root", "list": [1, "x"]}, {"name": "org/f", "answer": None, "list": [1, "x"]}],
    )
    _, out, _ = run("cypher", statement, names, "--csv")
    assert list(csv.reader(io.StringIO(out))) == [
        ["name", "answer", "list"],
        ["org/a", "root", '[1, "x"]'],
        ["org/f", "", '[1, "x"]'],
    ]
    _, out, _ = run("cypher", statement, names)
    assert out.splitlines() == ["name   answer  list", 'org/a  root    [1, "x"]', 'org/f          [1, "x"]']
    _, out, _ = run("cypher", "RETURN $text AS t", "--param", "text=just words", "--json")
    assert json.loads(out) == [{"t": "just words"}]
    _, out, _ = run("cypher", "MATCH (m:Model {repo_id: 'org/a'}) RETURN m.first_seen AS moment", "--json")
    assert json.loads(out)[0]["moment"].startswith("20")


def test_cypher_says_what_nodes_and_relationships_are(run: Run) -> None:
    asked = "MATCH p = (x:Model {repo_id: 'org/d'})-[r:COPY_OF]->(y) RETURN x, r, [y] AS ys, nodes(p) AS ns, relationships(p) AS rs"
    (row,) = json.loads(run("cypher", asked, "--json")[1])
    assert (row["x"]["labels"], row["x"]["repo_id"]) == (["Model"], "org/d")
    assert (row["r"]["type"], row["r"]["probability"]) == ("COPY_OF", 0.95)
    assert [(y["labels"], y["repo_id"]) for y in row["ys"]] == [(["Model"], "org/b")]
    assert [item["repo_id"] for item in row["ns"]] == ["org/d", "org/b"]
    assert [item["type"] for item in row["rs"]] == ["COPY_OF"]


@pytest.mark.slow
def test_a_relationship_says_what_it_lies_between_and_a_path_its_way(run: Run) -> None:
    (row,) = json.loads(
        run("cypher", "MATCH (:Model {repo_id: 'org/d'})-[r:COPY_OF]->() RETURN [r] AS rs", "--json")[1]
    )
    assert [(r["type"], r["start"], r["end"]) for r in row["rs"]] == [("COPY_OF", "org/d", "org/b")]
    up = "MATCH p = (:Model {repo_id: 'org/d'})-[:COPY_OF]->()-[:FINE_TUNED_FROM]->(y) RETURN p, y.repo_id AS name"
    (row,) = json.loads(run("cypher", up, "--json")[1])
    assert [e.get("repo_id") or (e["type"], e["start"], e["end"]) for e in row["p"]] == [
        "org/d",
        ("COPY_OF", "org/d", "org/b"),
        "org/b",
        ("FINE_TUNED_FROM", "org/b", "org/a"),
        "org/a",
    ]
    shown = "org/d -[COPY_OF]-> org/b -[FINE_TUNED_FROM]-> org/a"
    assert run("cypher", up)[1].splitlines()[1].split("  ")[0] == shown
    down = "MATCH p = (:Model {repo_id: 'org/b'})<-[:COPY_OF]-() RETURN p"
    assert run("cypher", down)[1].splitlines()[1] == "org/b <-[COPY_OF]- org/d"
    (row,) = json.loads(run("cypher", "MATCH p = (:Model {repo_id: 'org/b'}) RETURN p", "--json")[1])
    assert [node["repo_id"] for node in row["p"]] == ["org/b"]


def test_a_merge_is_printed_below_one_parent_with_the_others_beside_it(run: Run) -> None:
    _, out, _ = run("tree", "org/c")
    assert "org/e  merge 0.70  also from org/c\n" in out and out.count("org/e") == 1


def test_of_several_parents_that_a_card_names_the_likeliest_is_named(run: Run, store_url: str) -> None:
    with open_store(store_url) as store:
        store.upsert_declarations(["id-e"], [Declaration("id-e", f"org/{base}", "merge", "card") for base in "cb"])
        store.link_declarations()
    _, out, _ = run("declared", "org/e", "--json")
    assert json.loads(out)[0]["reason"] == "org/b is declared and found in the weights"


def test_the_own_licence_comes_before_those_that_it_is_compared_with(run: Run) -> None:
    rows = json.loads(run("licences", "org/e", "--json")[1])
    assert (rows[0]["repo_id"], rows[0]["depth"], rows[0]["outcome"]) == ("org/e", 0, "own") and "license" in rows[0]
    assert len(rows) > 1 and all(row["depth"] > 0 for row in rows[1:])
    code, out, err = run("licences", "org/a")
    assert code == 0 and out.splitlines()[1].startswith("org/a  0 ") and err == "org/a has no known ancestor\n"


def test_cypher_without_a_row_still_has_its_columns_in_csv(run: Run) -> None:
    none = "MATCH (m:Model)-[r]->(n) WHERE m.repo_id = 'RETURN x, y' /* RETURN z */ "
    for returned, columns in (
        ("RETURN m.repo_id AS name, count(*) AS `how many, all` ORDER BY name LIMIT 5", ["name", "how many, all"]),
        ("RETURN DISTINCT m.repo_id, coalesce(n.license, 'a, b')", ["m.repo_id", "coalesce(n.license, 'a, b')"]),
        ("RETURN m.hub_id AS x UNION MATCH (m:Model {hub_id: 'no'}) RETURN m.hub_id AS x", ["x"]),
    ):
        code, out, _ = run("cypher", none + returned, "--csv")
        assert (code, list(csv.reader(io.StringIO(out)))) == (0, [columns]), returned
        filled = returned.replace("{hub_id: 'no'}", "")
        code, out, _ = run("cypher", "MATCH (m:Model)-[r]->(n) " + filled, "--csv")
        assert code == 0 and next(csv.reader(io.StringIO(out))) == columns, "as with rows"
    assert run("cypher", "MATCH (m:Model {hub_id: 'no'}) RETURN m.hub_id AS x")[1:] == ("", "no rows\n")


def test_cypher_fetches_no_more_rows_than_asked_for_and_says_so(run: Run) -> None:
    code, out, err = run("cypher", "UNWIND range(1, 10) AS x RETURN x", "--limit", "2", "--json")
    assert (code, json.loads(out)) == (0, [{"x": 1}, {"x": 2}])
    assert "more than 2 rows" in err
    assert run("cypher", "UNWIND range(1, 2) AS x RETURN x", "--limit", "2", "--json")[2] == ""


def test_cypher_that_writes_is_refused_in_one_line_and_a_typo_shows_its_place(run: Run) -> None:
    code, out, err = run("cypher", "MATCH (m:Model) DETACH DELETE m")
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == "lineage: refused: this statement writes, and here the graph is only read"
    assert len(json.loads(run("cypher", "MATCH (m:Model) RETURN m.repo_id", "--json")[1])) == 6
    code, out, err = run("cypher", "MATCH (m:Model) RETRUN m")
    assert (code, out) == (2, "")
    assert err.count("input 'RETRUN'") == err.count("lineage: ") == 1, "said once"
    assert any(line.strip() == "^" for line in err.splitlines())
    code, _, err = run(
        "cypher",
        "UNWIND range(1, 30000) AS a UNWIND range(1, 30000) AS b WITH a WHERE a = 0 RETURN a",
        "--timeout",
        "0.2",
    )
    assert code == 1
    assert "0.2 s" in err


@pytest.mark.parametrize(
    "statement",
    [
        "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
        "MATCH (m:Model) load /* */ csv with headers from 'http://127.0.0.1:9/x' AS line RETURN line",
        "CALL apoc.load.json('file:///etc/passwd')",
        "EXPORT DATABASE 'file:///tmp/x'",
        "ATTACH 'x' AS y",
        "INSTALL httpfs",
        "COPY (MATCH (m) RETURN m) TO 'x.csv'",
    ],
)
def test_cypher_that_reaches_for_files_is_refused_in_one_line(embedded: Run, statement: str) -> None:
    code, out, err = embedded("cypher", statement)
    assert (code, out) == (1, "") and err.startswith("lineage: refused: this statement may reach outside of the graph")


def test_cypher_that_fails_while_rows_are_read_is_said_in_one_line(embedded: Run) -> None:
    for statement in ("UNWIND [1, 0] AS x RETURN 1 / x", "RETURN shortestPath((a)-[*]-(b))"):
        code, out, err = embedded("cypher", statement)
        assert (code, out) == (2, "") and err.startswith("lineage: the statement failed: ") and "Traceback" not in err


def test_what_is_no_number_is_null_in_json(embedded: Run) -> None:
    _, out, _ = embedded("cypher", "RETURN 0.0 / 0.0 AS x, [1.0 / 0.0, 1.5] AS y", "--json")
    assert json.loads(out, parse_constant=pytest.fail) == [{"x": None, "y": [None, 1.5]}]


def test_a_file_is_not_an_empty_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "store"
    place.write_text("")
    for words in (["status"], ["sync", "--folder", str(tmp_path)]):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--store", str(place)])
        assert ended.value.code == 1 and "is a file, not the folder of a store" in capsys.readouterr().err


def test_nothing_is_said_where_the_output_is_closed(embedded: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    code, _, err = embedded("tree", "org/a")
    assert (code, err) == (0, "")


def test_claims_are_shown_beside_what_was_found(run: Run) -> None:
    code, out, _ = run("declared", "--json")
    assert code == 0
    found = {row["repo_id"]: row["agreement"] for row in json.loads(out)}
    assert found == {"org/b": "contradicts", "org/c": "missing", "org/d": "missing", "org/e": "missing"}
    assert json.loads(out)[0]["declared"] == ["org/f"], "once, though card and tag name it"
    _, out, _ = run("declared", "--only", "contradicts")
    assert out.splitlines()[1].split(maxsplit=2) == [
        "org/b",
        "contradicts",
        "org/f is declared; the weights come from org/a",
    ]
    _, out, _ = run("declared", "org/f", "--json")
    assert json.loads(out)[0]["agreement"] is None


def test_graph_stats_init_and_export_answer_programs(run: Run) -> None:
    code, out, _ = run("graph", "stats", "--json", "--digest")
    counts = json.loads(out)
    assert (code, counts["models"], counts["MERGED_FROM"], counts["status.sketched"]) == (0, 6, 2, 6)
    assert len(counts["digest"]) == 64
    assert run("graph", "init", "--json")[0] == 0
    code, out, err = run("graph", "export", "--format", "node-link")
    assert (code, len(json.loads(out)["nodes"])) == (0, 6)
    assert err == "6 models, 5 edges\n"


def test_an_empty_place_is_a_failure_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["ancestors", "org/a"], ["roots"], ["cypher", "RETURN 1"], ["graph", "stats"]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--store", str(tmp_path / "nothing")])
        assert ended.value.code == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines()[0].startswith("lineage: there is no lineage graph")
        assert len(err.splitlines()) == 2
    assert not (tmp_path / "nothing").exists()


def test_a_lookup_imports_nothing_that_is_slow(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store")) as store:
        store.upsert_models([a_model("a"), a_model("b")])
        store.replace_edges(["id-b"], [an_edge("b", "a")], [], "run")
    script = (
        "import sys\nfrom lineage.graphdb.store import open_store\nfrom lineage.queries.parent_query import parent_of\n"
        "from lineage.queries.resolve import resolve\nstore = open_store(sys.argv[1], create=False)\n"
        "print(parent_of(store, resolve(store, 'org/b')).accepted[0]['repo_id'])\nstore.close()\n"
        "print(sorted({'torch', 'networkx', 'huggingface_hub', 'neo4j', 'rich', 'safetensors'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["org/a", "[]"]


def test_questions_are_listed_and_asked_by_name(run: Run, store_url: str) -> None:
    def call(*arguments: str) -> Result:
        return CliRunner().invoke(ask, [*arguments, "--store", store_url])

    assert {"leaves", "as_of", "parents"} <= {row["name"] for row in json.loads(call("--json").stdout)}
    for_people, all_of_them = call().stdout.splitlines(), call("--all").stdout.splitlines()
    listed = {line.split()[0]: line for line in for_people}
    assert {"leaves", "as-of"} <= listed.keys() and not {"children-at-once", "about"} & listed.keys()
    assert listed["licence-chain"].endswith("nearest first") and len(all_of_them) > len(for_people)
    assert json.loads(call("families", "--json").stdout) == [{"repo_id": "org/a", "children": 2, "descendants": 4}]
    then = call("as_of", "--param", "model=ORG/d", "--param", "at=2100-01-01", "--csv").stdout
    assert then.splitlines()[1].startswith("org/b,COPY_OF,0.95,run-1,")
    assert call("as-of", "--param", "model=ORG/d", "--param", "at=2100-01-01", "--csv").stdout == then
    for wrong in (("nonsense",), ("as_of",), ("leaves", "--param", "colour=red")):
        assert call(*wrong).exit_code == 2
    assert isinstance(call("parents", "--param", "models=org/nobody").exception, NoSuchModel)
