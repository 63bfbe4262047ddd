"""Groups of models by backbone, and what the groups of a model's parts say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.detect.cohorts import cohorts, decided_in_cohorts
from lineage.detect.combine_decisions import combined
from lineage.detect.decision import AnswerKind, Candidate, Decision, parts_in
from lineage.detect.group_decisions import decide_groups
from lineage.detect.groups import groups_of, part_id
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.parts_in_group import agreeing
from lineage.detect.pipeline import decide
from lineage.detect.sketch_file import Sketch
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.schema import Model, Relation, Status
from lineage.graphdb.store import Store, open_store
from tests.builders import WIDE, sketch_of, stack

Tensors = dict[str, np.ndarray]


def tuned(tensors: Tensors, seed: int, amount: float = 0.05) -> Tensors:
    """Each row moves by an amount of its own: one amount for all would be a copy with noise."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, v in tensors.items():
        own = rng.lognormal(0.0, 0.5, (len(v), *[1] * (v.ndim - 1)))
        found[name] = (v + amount * own * v.std() * rng.normal(size=v.shape)).astype(np.float32)
    return found


def under(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: values for name, values in tensors.items()}


def subject(name: str, tensors: Tensors) -> Subject:
    return Subject(name, sketch_of(tensors))


def keep(graph: Store, sketches: SketchStore, models: Mapping[str, Tensors]) -> None:
    """Models that were crawled and are not decided about."""
    rows = []
    for number, (name, tensors) in enumerate(models.items()):
        sketch = replace(sketch_of(tensors), digest=f"{number + 1:064x}")
        sketches.keep(sketch)
        rows.append(
            Model(name, f"acme/{name}", Status.SKETCHED, weights_digest=sketch.digest, signature=sketch.signature)
        )
    graph.upsert_models(rows)


def plain(some: Sequence[Subject]) -> list[Decision]:
    return decide(some, Options(), torch.device("cpu"))


def named(decision: Decision) -> set[str]:
    return {decision.parent or "", *(candidate.parent for candidate in decision.candidates)} - {""}


@dataclass(frozen=True)
class PartOfM:
    parts: tuple[str, ...]
    values: int


LANGUAGE, VISION = stack("model.", 0), stack("", 1, wide=48)
BOTH = under("language_model.", tuned(LANGUAGE, 2)) | under("vision_tower.encoder.", tuned(VISION, 3))


def test_models_of_one_part_meet_in_its_group_and_parts_with_the_same_members_are_one_group() -> None:
    both, other = subject("both", BOTH), subject("again", tuned(BOTH, 9))
    groups = groups_of([both, other])
    assert len(groups) == 1 and len(groups[0].keys) == 2
    groups = groups_of([subject("language", LANGUAGE), both, other, subject("vision", VISION)])
    members = sorted(tuple(m.subject.id for m in group.members) for group in groups)
    assert members == [("both", "again", "vision"), ("language", "both", "again")]


def test_a_multimodal_model_is_related_to_the_parents_of_its_parts_and_to_nothing_else() -> None:
    models = {"language": LANGUAGE, "vision": VISION, "both": BOTH, "stranger": stack("model.", 7)}
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    assert said["stranger"].answer is AnswerKind.NO_RELATIVES and "related to none" in str(said["stranger"].reason)
    assert "both" in named(said["language"]) | named(said["vision"]) or {"language", "vision"} & named(said["both"])
    everyone = [said["both"], *said["both"].other_parts]
    assert all("stranger" not in named(decision) for decision in everyone)


def test_of_models_with_the_same_two_parts_one_part_alone_may_come_from_the_other_model() -> None:
    other = under("language_model.", stack("model.", 8)) | under("vision_tower.encoder.", tuned(VISION, 4))
    base = under("language_model.", LANGUAGE) | under("vision_tower.encoder.", VISION)
    apart = under("language_model.", stack("model.", 9)) | under("vision_tower.encoder.", stack("", 10, wide=48))
    models = {"base": base, "other": other, "apart": apart}
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    assert named(said["other"]) == {"base"} and "vision" in str(said["other"].evidence["part"])
    assert named(said["apart"]) == set() and said["apart"].answer is AnswerKind.NO_RELATIVES


def test_tables_of_zeros_do_not_hide_that_models_are_related() -> None:
    zeros = {f"{name}_integer": np.zeros_like(values) for name, values in LANGUAGE.items()}
    models = {"base": LANGUAGE, "child": tuned(LANGUAGE, 2), "again": tuned(LANGUAGE, 3)}
    said = {d.model: d for d in decide_groups([subject(n, t | zeros) for n, t in models.items()], plain, 0.8)}
    assert "base" in named(said["child"]) and float(said["child"].evidence["related"]) > 0.9


def test_an_odd_member_does_not_shrink_what_the_others_have_in_common() -> None:
    whole = [tuned(LANGUAGE, n) for n in range(4)]
    odd = {name: values for name, values in tuned(LANGUAGE, 5).items() if "query" in name}
    main, apart = cohorts([sketch_of(tensors) for tensors in [*whole[:2], odd, *whole[2:]]])
    assert (main, apart) == ([0, 1, 3, 4], [2])


def test_a_base_of_which_little_is_known_is_the_parent_of_those_that_have_more_in_common() -> None:
    whole = {n: sketch_of(tuned(LANGUAGE, n)) for n in range(4)}
    base = sketch_of(LANGUAGE)
    little = replace(base, samples={name: sample for name, sample in base.samples.items() if "query" in name})
    subjects = [Subject(f"child-{n}", sketch) for n, sketch in whole.items()]
    assert cohorts([s.sketch for s in [*subjects, Subject("base", little)]])[1] == [4]
    alone = decide_groups(subjects, plain, 0.8)
    assert all(decision.parent is None for decision in alone)
    said = {d.model: d for d in decide_groups([*subjects, Subject("base", little)], plain, 0.8)}
    assert said["base"].answer is AnswerKind.ROOT
    assert [named(said[s.id]) & {"base"} for s in subjects] == [{"base"}] * 4


def test_a_member_with_nothing_in_common_to_all_is_compared_with_the_one_it_has_most_in_common_with() -> None:
    def rows(tensors: Tensors, names: str) -> Sketch:
        sketch = sketch_of(tensors)
        return replace(sketch, samples={n: s for n, s in sketch.samples.items() if names in n})

    whole, queries, ups = sketch_of(LANGUAGE), rows(tuned(LANGUAGE, 1), "query"), rows(tuned(LANGUAGE, 2), "up")
    said = decided_in_cohorts([Subject("whole", whole), Subject("queries", queries), Subject("ups", ups)], plain)
    assert named(said["queries"]) == {"whole"} and named(said["ups"]) == {"whole"}


def test_members_that_lack_the_same_join_together_so_that_one_may_come_from_the_other() -> None:
    whole = [sketch_of(LANGUAGE), *(sketch_of(tuned(LANGUAGE, n)) for n in range(4))]
    short = {name: values for name, values in tuned(LANGUAGE, 7).items() if "query" in name}
    models = [Subject(f"whole-{n}", sketch) for n, sketch in enumerate(whole)]
    models += [Subject("short", sketch_of(short)), Subject("its-child", sketch_of(tuned(short, 8)))]
    said = decided_in_cohorts(models, plain)
    assert max(said["its-child"].candidates, key=lambda c: c.probability).parent == "short"


def test_an_encoder_and_a_decoder_that_mirrors_it_are_compared_apart() -> None:
    """Their blocks have the same sizes in another order, so that no tensor of the one has the shape of the other's."""
    rng = np.random.default_rng(11)
    wide = [(8, 16), (16, 32), (32, 64), (64, 128)]

    def levels(pairs: Sequence[tuple[int, int]]) -> Tensors:
        found = {}
        for i, (few, many) in enumerate(pairs):
            for j in range(3):
                shape = (many, few, 3) if j else (few, few, 5)
                found[f"layers.{i}.layers.{j}.weight_v"] = rng.normal(size=shape).astype(np.float32)
        return found

    base = under("encoder.", levels(wide)) | under("decoder.", levels(wide[::-1]))
    models = {"base": base, "child": tuned(base, 3), "again": tuned(base, 4)}
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    assert "base" in named(said["child"]) and "base" in named(said["again"])


def test_more_rows_of_vocabulary_and_other_heads_leave_a_parent_known() -> None:
    rng = np.random.default_rng(4)
    base = LANGUAGE | {"model.embed_tokens.weight": rng.normal(size=(90, WIDE)).astype(np.float32)}
    child = tuned(base, 6)
    child["model.embed_tokens.weight"] = np.vstack([child["model.embed_tokens.weight"], np.ones((1, WIDE), np.float32)])
    child["score.weight"] = rng.normal(size=(3, WIDE)).astype(np.float32)
    said = {d.model: d for d in decide_groups([subject("base", base), subject("child", child)], plain, 0.8)}
    assert said["child"].answer is not AnswerKind.NO_RELATIVES
    assert "base" in named(said["child"]) or "child" in named(said["base"])


def test_models_alone_have_no_relatives() -> None:
    (found,) = decide_groups([subject("one", LANGUAGE)], plain, 0.8)
    assert found.answer is AnswerKind.NO_RELATIVES and found.evidence["compared_with"] == 0


@pytest.mark.slow
def test_the_graph_has_a_frozen_part_from_the_model_that_came_first(tmp_path: Path) -> None:
    sketches, encoder, decoder = (
        SketchStore(tmp_path / "sketches"),
        under("encoder.", VISION),
        under("decoder.", LANGUAGE),
    )
    models = {
        "base": encoder | decoder,
        "a-distilled": encoder | tuned(blocks(decoder, (0, 2)), 2),
        "b-tuned": tuned(encoder, 3),
        "c-tuned": tuned(encoder, 4),
    }
    with open_store(str(tmp_path / "store")) as graph:
        keep(graph, sketches, models)
        assert detect_into(graph, sketches, Options(), "run-1")["models"] == 4
        edges = graph.read(
            "MATCH (c:Model)-[:FINE_TUNED_FROM|POSSIBLE_PARENT]->(p:Model) RETURN c.hub_id AS c, p.hub_id AS p"
        )
        found = {(edge["c"], edge["p"]) for edge in edges}
        assert {("b-tuned", "base"), ("c-tuned", "base"), ("a-distilled", "base")} & found
        assert not {("b-tuned", "a-distilled"), ("c-tuned", "a-distilled")} & found


@pytest.mark.slow
def test_the_graph_keeps_a_model_in_the_groups_of_all_its_backbones(tmp_path: Path) -> None:
    sketches = SketchStore(tmp_path / "sketches")
    models = {"language": LANGUAGE, "vision": VISION, "both": BOTH, "both-again": tuned(BOTH, 9)}
    with open_store(str(tmp_path / "store")) as graph:
        keep(graph, sketches, models)
        sizes = sorted(size for _, size in graph.signatures())
        assert sizes == [3, 3]
        summary = detect_into(graph, sketches, Options(), "run-1")
        assert summary["models"] == 4 and summary["architectures"] == 2
        answers = {row["m"]: row["a"] for row in graph.read("MATCH (m:Model) RETURN m.hub_id AS m, m.answer AS a")}
        assert set(answers) == set(models) and None not in answers.values()
        edges = graph.read(
            "MATCH (c:Model)-[:FINE_TUNED_FROM|POSSIBLE_PARENT]->(p:Model) RETURN c.hub_id AS c, p.hub_id AS p"
        )
        assert {("language", "vision"), ("vision", "language")}.isdisjoint({(e["c"], e["p"]) for e in edges}) and edges
        assert detect_into(graph, sketches, Options(), "run-2")["architectures"] == 0, "nothing changed"


def blocks(tensors: Tensors, kept: Sequence[int]) -> Tensors:
    """Some of a model's blocks, and what surrounds them."""
    found = {name: values for name, values in tensors.items() if "layers." not in name}
    for place, number in enumerate(kept):
        inside = f"layers.{number}."
        found |= {n.replace(inside, f"layers.{place}."): v for n, v in tensors.items() if inside in n}
    return found


def test_a_frozen_part_that_two_models_have_is_from_the_one_that_the_other_came_from() -> None:
    """A speech model whose decoder lost layers while its encoder was frozen is not where classifiers have the encoder from."""
    encoder, decoder = under("encoder.", VISION), under("decoder.", LANGUAGE)
    small = blocks(decoder, (0, 2))
    models = {
        "base": encoder | decoder,
        "distilled": encoder | tuned(small, 2),
        "classifier": tuned(encoder, 3),
    }
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    assert "base" in named(said["distilled"]) and "distilled" not in named(said["classifier"])
    assert "base" in named(said["classifier"])


def test_where_a_much_larger_part_has_candidates_a_copied_small_part_is_not_what_a_model_is_about() -> None:
    tower = Decision("m", AnswerKind.PARENT, 1.0, "vision", Relation.COPY_OF, (Candidate("vision", 1.0),))
    language = Decision("m", AnswerKind.UNDECIDED, 0.7, candidates=(Candidate("language", 0.7),))
    parts = [(PartOfM(("tower",), 10), tower), (PartOfM(("language_model",), 100), language)]
    found = combined("m", parts)
    assert (found.answer, found.evidence["part"]) == (AnswerKind.UNDECIDED, "language_model")
    assert [(other.parent, other.evidence["part"]) for other in found.other_parts] == [("vision", "tower")]
    trained = replace(tower, relation=Relation.FINE_TUNED_FROM)
    assert combined("m", [(PartOfM(("tower",), 60), trained), parts[1]]).parent == "vision"
    assert (
        combined("m", [(PartOfM(("tower",), 60), tower), parts[1]]).parent is None
    )  # a copy of a part is no copy of the model
    stranger = Decision("m", AnswerKind.NO_RELATIVES, 1.0)
    alone = combined("m", [(PartOfM(("tower",), 60), tower), (parts[1][0], stranger)])
    assert (alone.parent, alone.relation, alone.evidence["part"]) == ("vision", Relation.FINE_TUNED_FROM, "tower")


def test_parts_with_one_parent_are_one_decision_that_names_them_all() -> None:
    def comes_from(parent: str, relation: Relation = Relation.FINE_TUNED_FROM) -> Decision:
        return Decision("m", AnswerKind.PARENT, 0.9, parent, relation, (Candidate(parent, 0.9),))

    text, vision, language = PartOfM(("text",), 10), PartOfM(("vision",), 20), PartOfM(("language",), 100)
    found = combined("m", [(language, comes_from("llama")), (text, comes_from("clip")), (vision, comes_from("clip"))])
    assert (found.parent, parts_in(found.evidence)) == ("llama", ("language",))
    assert [(d.parent, parts_in(d.evidence)) for d in found.other_parts] == [("clip", ("vision", "text"))]
    assert found.other_parts[0].evidence["part"] == "vision, text"
    found = combined("m", [(text, comes_from("clip")), (vision, comes_from("clip"))])
    assert (found.parent, parts_in(found.evidence), found.other_parts) == ("clip", (), ())
    undecided = Decision("m", AnswerKind.UNDECIDED, 0.7, candidates=(Candidate("llama", 0.7),))
    found = combined("m", [(text, comes_from("clip")), (vision, comes_from("clip")), (language, undecided)])
    assert [(d.parent, parts_in(d.evidence)) for d in found.other_parts] == [("clip", ("vision", "text"))]
    both = PartOfM(("vision", "text"), 30)
    found = combined("m", [(language, undecided), (both, comes_from("clip"))])
    assert parts_in(found.other_parts[0].evidence) == ("vision", "text")


def test_a_model_of_other_depth_is_beside_those_that_lost_the_same_layers() -> None:
    base, kept = stack("model.", 3, depth=8), (0, 2, 5, 7)
    near, far = tuned(blocks(base, kept), 4, 0.02), tuned(blocks(base, kept), 5, 0.4)
    models = {"base": base, "near": near, "far": far}
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    assert "base" in named(said["near"]) and "base" in named(said["far"])
    assert said["near"].evidence["layers"] == said["far"].evidence["layers"] == "0,2,5,7"


@pytest.mark.slow
def test_siblings_whose_base_is_missing_are_not_said_to_have_no_relatives() -> None:
    """Nine trainings that all began the same way, which shows that their base is not here."""
    base, dice = stack("model.", 1), np.random.default_rng(3)
    way = {name: dice.normal(size=values.shape) for name, values in base.items()}

    def trained(seed: int) -> dict[str, np.ndarray]:
        own = np.random.default_rng(seed)
        found = {}
        for name, values in base.items():
            units = own.lognormal(0, 0.7, (len(values), *[1] * (values.ndim - 1)))
            step = 0.7 * way[name] + 0.7 * own.normal(size=values.shape)
            found[name] = (values + 0.3 * units * values.std() * step).astype(np.float32)
        return found

    said = decide_groups([subject(f"model{seed}", trained(seed)) for seed in range(9)], plain, 0.8)
    assert {d.answer for d in said} == {AnswerKind.UNDECIDED}
    assert all("one of 9 related models" in str(d.reason) for d in said)


TWO_TOWERS = under("vision_model.encoder.", stack("", 31, depth=4)) | under("text_model.encoder.", stack("", 32))


def test_a_card_reaches_the_parts_of_models_that_have_one_backbone_twice() -> None:
    base, child = subject("base", TWO_TOWERS), replace(subject("child", tuned(TWO_TOWERS, 2)), declared={"base"})
    (group,) = groups_of([base, child])
    named = {m.subject.id: set(m.subject.declared) for m in group.members if m.model == "child"}
    assert named == {
        part_id("child", f"{tower}.encoder"): {part_id("base", f"{tower}.encoder")}
        for tower in ("vision_model", "text_model")
    }
    alone = replace(subject("tower", under("encoder.", stack("", 31, depth=4))), declared={"base"})
    (group,) = groups_of([base, alone])
    (tower,) = (m.subject for m in group.members if m.model == "tower")
    assert tower.declared == {part_id("base", "vision_model.encoder")}


def part_of_model(
    model: str, part: str, answer: AnswerKind, *candidates: tuple[str, float], root: float = 0.9
) -> tuple[PartOfM, Decision]:
    probability = candidates[0][1] if candidates else root
    parent = candidates[0][0] if answer is AnswerKind.PARENT else None
    relation = Relation.FINE_TUNED_FROM if parent else None
    named = tuple(Candidate(*candidate) for candidate in candidates)
    found = Decision(part_id(model, part) if part else model, answer, probability, parent, relation, named)
    return PartOfM((part,), 20 if part != "text" else 10), found


def test_a_smaller_part_does_not_settle_between_models_that_the_larger_one_cannot_tell_apart() -> None:
    vision = part_of_model("m", "vision", AnswerKind.UNDECIDED, ("base", 0.5), ("tuned", 0.35))
    text = part_of_model("m", "text", AnswerKind.PARENT, ("base", 0.92), ("tuned", 0.06))
    found = combined("m", [text, vision])
    assert (found.answer, found.evidence["part"], found.other_parts) == (AnswerKind.UNDECIDED, "vision", ())
    clear = part_of_model("m", "vision", AnswerKind.UNDECIDED, ("base", 0.7), ("tuned", 0.05))
    assert combined("m", [text, clear]).parent == "base"


def test_a_model_whose_one_part_may_be_another_model_s_is_no_root_for_its_other_part() -> None:
    _, root = part_of_model("m", "text", AnswerKind.ROOT)
    found = combined(
        "m", [(PartOfM(("text",), 30), root), part_of_model("m", "vision", AnswerKind.UNDECIDED, ("tower", 0.5))]
    )
    assert (found.answer, found.evidence["part"]) == (AnswerKind.UNDECIDED, "vision")


def test_the_parts_of_a_model_agree_about_which_of_two_models_came_first() -> None:
    vision, text = (part_id("base", part) for part in ("vision", "text"))
    said = [
        part_of_model("base", "vision", AnswerKind.UNDECIDED, (part_id("child", "vision"), 0.3)),
        part_of_model("base", "text", AnswerKind.ROOT),
        part_of_model("child", "vision", AnswerKind.UNDECIDED, (vision, 0.7)),
        part_of_model("child", "text", AnswerKind.PARENT, (text, 0.95)),
    ]
    found = {d.model: d for _, d in agreeing(said)}
    assert found[vision].answer is AnswerKind.ROOT and found[vision].candidates == ()
    tower = [
        part_of_model("base", "vision", AnswerKind.UNDECIDED, ("tower", 0.48)),
        part_of_model("base", "text", AnswerKind.ROOT),
        part_of_model("tower", "", AnswerKind.ROOT, root=0.83),
    ]
    found = {d.model: d for _, d in agreeing(tower)}
    assert found["tower"].answer is AnswerKind.UNDECIDED and found["tower"].likeliest == vision
    kept = replace(tower[0][1], evidence={"equal_to": "tower"})
    found = {d.model: d for d in (d for _, d in agreeing([(tower[0][0], kept), *tower[1:]]))}
    assert found["tower"].answer is AnswerKind.UNDECIDED, "whether the tower was exported from base or put into it"
    assert "base came first" in str(combined("tower", [(tower[2][0], found["tower"])]).reason)


def test_of_equal_parts_a_part_comes_from_the_one_of_the_model_that_the_other_part_comes_from() -> None:
    vision, text = (part_id("base", part) for part in ("vision", "text"))
    equal = part_of_model("base", "vision", AnswerKind.UNDECIDED, ("tower", 0.5))
    said = [
        (equal[0], replace(equal[1], evidence={"equal_to": "tower"})),
        part_of_model("base", "text", AnswerKind.ROOT),
        part_of_model("tower", "", AnswerKind.ROOT),
        part_of_model("child", "vision", AnswerKind.PARENT, ("tower", 0.9)),
        part_of_model("child", "text", AnswerKind.PARENT, (text, 0.9)),
        part_of_model("other", "", AnswerKind.PARENT, ("tower", 0.9)),
    ]
    found = {d.model: d.parent for _, d in agreeing(said)}
    assert (found[part_id("child", "vision")], found["other"]) == (vision, "tower")


def test_a_model_that_trained_one_part_and_kept_the_other_is_no_copy() -> None:
    kept = part_of_model("m", "vision", AnswerKind.PARENT, ("base", 0.98))
    kept = (kept[0], replace(kept[1], relation=Relation.COPY_OF))
    trained = part_of_model("m", "text", AnswerKind.PARENT, ("base", 0.9))
    found = combined("m", [kept, trained])
    assert (found.relation, found.evidence["part"], found.other_parts) == (Relation.FINE_TUNED_FROM, "text", ())
