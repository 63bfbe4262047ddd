"""Who is the parent, and does the card say the same: on both stores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lineage.answer import Parent, from_rows
from lineage.graphdb.schema import Declaration, Model, NoSuchModel, Relation, Status, Verdict, local_id
from lineage.graphdb.store import Store
from lineage.queries.claim_check import Agreement, compare, compare_all
from lineage.queries.display import print_csv
from lineage.queries.parent_query import parent_of
from lineage.queries.pipelines import main_part
from lineage.queries.resolve import find, resolve
from tests.graphs import a_model, an_edge, fill


def claim(store: Store, child: str, *bases: str) -> None:
    store.upsert_declarations([f"id-{child}"], [Declaration(f"id-{child}", base, None, "card") for base in bases])
    store.link_declarations()


def test_a_parent_comes_with_everything_that_decided(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "abcd"])
    edges = [
        an_edge("d", "a", 0.97, decided_by=("inheritance", "growth"), evidence={"z": 5}),
        an_edge("d", "b", 0.9, kind=Relation.MERGED_FROM),
        an_edge("d", "c", 0.3, kind=Relation.POSSIBLE_PARENT),
    ]
    store.replace_edges(["id-d"], edges, [Verdict("id-d", "parent", "inherits everything", 0.97)], "run-1")
    claim(store, "d", "org/a", "org/elsewhere")
    answer = from_rows(parent_of(store, resolve(store, "ORG/D")))
    assert (answer.answer, answer.parent, answer.parent_id, answer.relation) == (
        "parent",
        "org/a",
        "id-a",
        "FINE_TUNED_FROM",
    )
    assert (answer.probability, answer.decided_by, answer.evidence) == (0.97, ("inheritance", "growth"), {"z": 5})
    assert (answer.method, answer.method_version, answer.reason) == ("test", "1", "inherits everything")
    assert answer.other_parents == (Parent("id-b", "org/b", "MERGED_FROM", 0.9),)
    assert answer.runners_up == (Parent("id-c", "org/c", "POSSIBLE_PARENT", 0.3),)
    assert [declaration.base for declaration in answer.declared] == ["org/a", "org/elsewhere"]
    assert answer.agreement is not None
    assert answer.agreement.agreement is Agreement.AGREE
    assert answer.as_of is not None


def test_a_model_without_a_parent_is_a_root_undecided_or_unknown(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "abcd"])
    verdicts = [Verdict("id-a", "root", "oldest of its family", 0.95), Verdict("id-b", "undecided", "a tie", 0.5)]
    tie = an_edge("b", "a", 0.5, kind=Relation.POSSIBLE_PARENT)
    store.replace_edges(["id-a", "id-b"], [tie], verdicts, "run-1")
    root, undecided, unknown = (from_rows(parent_of(store, resolve(store, f"id-{name}"))) for name in "abc")
    assert (root.answer, root.probability, root.reason, root.parent) == ("root", 0.95, "oldest of its family", None)
    assert (undecided.answer, undecided.reason) == ("undecided", "a tie")
    assert undecided.runners_up == (Parent("id-a", "org/a", "POSSIBLE_PARENT", 0.5),)
    assert (unknown.answer, unknown.runners_up, unknown.as_of) == ("unknown", (), None)


def test_a_pipeline_that_left_the_hub_keeps_its_main_part_and_one_that_dropped_a_part_does_not(store: Store) -> None:
    pipeline = a_model("p", weights_digest=None, signature=None)
    part = Model("id-p/unet", "org/p/unet", Status.SKETCHED, signature="sig", weights_digest="digest-u")
    store.upsert_models([a_model("child"), a_model("parent"), pipeline, part])
    store.replace_edges(["id-child"], [an_edge("child", "parent", 0.99)], [], "run-1")
    claim(store, "child", "org/p")

    def agreement() -> Agreement | None:
        return next(compare(store, ["id-child"])).agreement

    assert (main_part(store, pipeline), agreement()) == (part, Agreement.CONTRADICTS)
    store.upsert_models([gone := replace(part, status=Status.GONE)])
    assert (main_part(store, pipeline), agreement()) == (None, Agreement.CANNOT_TELL)
    store.upsert_models([left := replace(pipeline, status=Status.GONE)])
    assert (main_part(store, left), agreement()) == (gone, Agreement.CONTRADICTS)


@pytest.mark.parametrize(
    ("bases", "outcome"),
    [
        (["org/parent"], Agreement.AGREE),
        (["ORG/Parent", "org/other"], Agreement.CANNOT_TELL),  # one of them is a stranger
        (["org/grandparent"], Agreement.AGREE),
        (["org/other"], Agreement.CONTRADICTS),
        (["org/deleted"], Agreement.CONTRADICTS),  # its sample stays
        (["org/never-read"], Agreement.CANNOT_TELL),
        (["org/other", "org/unheard-of"], Agreement.CANNOT_TELL),
        (["org/foreign"], Agreement.CANNOT_TELL),
        (["org/unread"], Agreement.CANNOT_TELL),
        (["org/child"], Agreement.MISSING),  # only names itself
        ([], Agreement.MISSING),
    ],
)
def test_a_claim_is_compared_with_the_parent_found(store: Store, bases: list[str], outcome: Agreement) -> None:
    models = [a_model(name) for name in ("grandparent", "parent", "child", "other")]
    models += [a_model("foreign", signature="another"), a_model("unread", status=Status.UNREADABLE)]
    models += [a_model("deleted"), a_model("never-read", status=Status.UNREADABLE, signature=None)]
    fill(store, models, [an_edge("child", "parent"), an_edge("parent", "grandparent")])
    store.upsert_models(
        [a_model(n, status=Status.GONE, signature=None, weights_digest=None) for n in ("deleted", "never-read")]
    )
    claim(store, "child", *bases)
    (comparison,) = compare(store, ["id-child"])
    assert comparison.agreement is outcome
    assert comparison.detected == ("org/parent",)


@pytest.mark.parametrize(("probability", "outcome"), [(0.98, Agreement.CONTRADICTS), (0.88, Agreement.CANNOT_TELL)])
def test_a_claim_about_a_sister_is_contradicted_by_sure_edges_alone(
    store: Store, probability: float, outcome: Agreement
) -> None:
    family = [a_model(name) for name in ("parent", "sister", "child")]
    fill(store, family, [an_edge("child", "parent", probability), an_edge("sister", "parent", 0.98)])
    claim(store, "child", "org/sister")
    claim(store, "parent", "org/sister")
    store.replace_edges(["id-parent"], [], [Verdict("id-parent", "root", "the oldest", 0.99)], "run-2")
    child, parent = compare(store, ["id-child", "id-parent"])
    assert child.agreement is outcome, child.reason
    assert parent.agreement is Agreement.CANNOT_TELL and parent.reason.endswith("org/sister comes from it")


def test_a_claim_about_a_model_with_which_it_had_a_start_in_common_is_not_contradicted(store: Store) -> None:
    fill(store, [a_model(name) for name in ("base", "long", "elsewhere")], [])
    start = {"key": "common_start", "values": {"cosine": 0.15}, "models": {"nearest": "id-base"}}
    because = Verdict("id-long", "no_relatives", "no_near_relatives", 0.99, {"values": {"count": 2}, "then": [start]})
    store.replace_edges(["id-long"], [], [because], "run-2")
    for name, outcome in (("base", Agreement.CANNOT_TELL), ("elsewhere", Agreement.CONTRADICTS)):
        claim(store, "long", f"org/{name}")
        (comparison,) = compare(store, ["id-long"])
        assert comparison.agreement is outcome, comparison.reason


def test_a_start_in_common_counts_for_the_root_of_a_family_and_for_all_that_comes_from_it(store: Store) -> None:
    family = [a_model(name) for name in ("base", "cpt", "long", "chat", "chatty", "elsewhere")]
    fill(store, family, [an_edge("cpt", "base", 0.99), an_edge("chat", "long", 0.99), an_edge("chatty", "chat", 0.99)])
    start = {"key": "common_start", "values": {"cosine": 0.3}, "models": {"nearest": "id-cpt"}}
    because = Verdict("id-long", "root", "oldest", 0.99, {"values": {"count": 3}, "then": [start]})
    store.replace_edges(["id-long"], [], [because], "run-2")
    for model in ("long", "chat", "chatty"):
        for name, outcome in (("base", Agreement.CANNOT_TELL), ("elsewhere", Agreement.CONTRADICTS)):
            claim(store, model, f"org/{name}")
            (comparison,) = compare(store, [f"id-{model}"])
            assert comparison.agreement is outcome, comparison.reason
    assert "org/chat was found, and org/long and org/base had a start in common" in reason_of(store, "chatty", "base")


def reason_of(store: Store, model: str, base: str) -> str:
    claim(store, model, f"org/{base}")
    (comparison,) = compare(store, [f"id-{model}"])
    return comparison.reason


def test_a_base_that_has_other_weights_since_is_not_held_against_a_card(store: Store) -> None:
    models = [replace(a_model(name), weights_digest=name * 64) for name in ("a", "b", "c")]
    fill(store, models, [an_edge("c", "b", 0.998)])
    claim(store, "c", "org/b")
    store.replace_edges(["id-c"], [an_edge("c", "a", 0.99)], [Verdict("id-c", "parent", "why", 0.99)], "run-2")
    (same,) = compare(store, ["id-c"])
    assert same.agreement is Agreement.CONTRADICTS, "the base is as it was, and something better was found"
    store.upsert_models([replace(models[1], weights_digest="d" * 64, revision="later")])
    (changed,) = compare(store, ["id-c"])
    assert changed.agreement is Agreement.CANNOT_TELL and "has others now" in changed.reason


def test_a_claim_of_a_model_with_the_same_weights_agrees(store: Store) -> None:
    """The card of a copy names another copy, whichever of them detection takes for the first."""
    models = [replace(a_model(name), weights_digest=digest * 64) for name, digest in zip("abc", "xyy", strict=True)]
    fill(store, models, [an_edge("b", "a", 0.99), an_edge("c", "a", 0.99)])
    claim(store, "c", "org/b")
    (found,) = compare(store, ["id-c"])
    assert (found.agreement, found.reason) == (Agreement.AGREE, "org/b is declared and has the same weights as it")


def test_a_claim_of_a_model_without_a_parent_is_contradicted_only_by_a_root(store: Store) -> None:
    store.upsert_models([a_model(name) for name in "abcd"])
    verdicts = [Verdict("id-a", "root", "why", 0.9), Verdict("id-b", "undecided", "why", 0.5)]
    store.replace_edges(["id-a", "id-b"], [], verdicts, "run-1")
    for name in "abc":
        claim(store, name, "org/d")
    found = {
        comparison.hub_id: comparison.agreement for comparison in compare(store, [f"id-{name}" for name in "abcd"])
    }
    assert found == {
        "id-a": Agreement.CONTRADICTS,
        "id-b": Agreement.CANNOT_TELL,
        "id-c": Agreement.CANNOT_TELL,
        "id-d": None,
    }
    assert {comparison.hub_id for comparison in compare_all(store)} == {"id-a", "id-b", "id-c"}


def test_a_model_is_found_by_name_identity_revision_former_name_and_path(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    local = Model(local_id(folder), str(folder.resolve()), Status.SKETCHED)
    store.upsert_models([a_model("a"), a_model("b"), local])
    store.upsert_models([a_model("a", repo_id="org/new")])
    for text in ("org/new", "ORG/A", "id-a", "org/a@main"):
        assert resolve(store, text).hub_id == "id-a"
    assert find(store, str(folder)) == local
    assert find(store, str(tmp_path / "elsewhere")) is None


def test_a_path_is_found_relative_to_where_one_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    local = Model(local_id(Path("org/a")), str(tmp_path / "org/a"), Status.SKETCHED)
    store.upsert_models([local])
    assert find(store, "org/a") == local
    store.upsert_models([a_model("a")])
    assert find(store, "org/a") == a_model("a")  # a repository of that name comes first
    assert find(store, "./org/a") == local


def test_an_unknown_model_is_answered_with_names_that_are_close(store: Store) -> None:
    names = ["acme/digits-mlp", "acme/digits-mlp-rotated", "other/letters", "x/digits-mlp"]
    store.upsert_models([a_model(number, repo_id=name) for number, name in enumerate(names)])
    for text, suggestion in [
        ("acme/digits-mpl", "acme/digits-mlp"),
        ("digits-mlp", "digits-mlp"),
        ("acne/digits-mlp-rotatd", "acme/digits-mlp-rotated"),
        ("othr/letters", "other/letters"),
    ]:
        with pytest.raises(NoSuchModel) as unknown:
            resolve(store, text)
        assert unknown.value.exit_code == 4
        assert suggestion in (unknown.value.try_next or "")
    with pytest.raises(NoSuchModel) as unknown:
        resolve(store, "zzz/nothing-like-it")
    assert "did you mean" not in (unknown.value.try_next or "")


def test_a_repository_whose_name_another_has_taken_is_not_compared(store: Store) -> None:
    names = {"old": "org/a#id-old", "new": "org/a", "base": "org/base"}
    fill(store, [replace(a_model(name), repo_id=repo_id) for name, repo_id in names.items()], [])
    for name in ("old", "new"):
        claim(store, name, "org/base")
    assert {found.repo_id for found in compare_all(store)} == {"org/a"}


@pytest.mark.parametrize(
    ("value", "cell"),
    [("=a/b is declared", "'=a/b is declared"), ("-1+1", "'-1+1"), ("@x", "'@x"), ("a=b", "a=b"), (-1.5, "-1.5")],
)
def test_no_cell_of_a_csv_is_a_formula(value: object, cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """https://owasp.org/www-community/attacks/CSV_Injection"""
    print_csv([{"why": value}])
    assert capsys.readouterr().out == f"why\n{cell}\n"
