from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from lineage.detect.acceptance import nearly_equal
from lineage.detect.decision import AnswerKind
from lineage.detect.detector.network import DirectionNetwork
from lineage.detect.detector.scoring import BadDetector, save, shipped
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.graphdb.schema import Relation
from tests.builders import sketch_of, start, three_generations, tune


def subjects(models, **more):
    return [Subject(name, sketch_of(weights, name), **more.get(name, {})) for name, weights in models.items()]


def parents_found(decisions):
    return {d.model: d.parent for d in decisions if d.answer is AnswerKind.PARENT}


def test_three_generations_are_found_with_direction_and_strangers_stay_alone():
    models, parents = three_generations()
    models |= {"stranger": start(777), "other": start(778)}
    decisions = decide(subjects(models))
    assert parents_found(decisions) == parents
    assert {d.model for d in decisions if d.answer is AnswerKind.ROOT} == {"a", "stranger", "other"}
    assert [d.model for d in decisions] == list(models)


@pytest.mark.slow
def test_the_answer_does_not_depend_on_the_order_of_the_models():
    models, _ = three_generations(3)
    forward = {d.model: (d.parent, round(d.probability, 6)) for d in decide(subjects(models))}
    backward = {d.model: (d.parent, round(d.probability, 6)) for d in decide(subjects(dict(reversed(models.items()))))}
    assert forward == backward


@pytest.mark.slow
def test_a_copy_is_told_from_its_original_by_date_or_declaration_and_without_them_has_the_parent_of_both():
    models, parents = three_generations()
    models["aaa"] = models["b"]
    plain = {d.model: d for d in decide(subjects(models))}
    assert (plain["aaa"].parent, plain["aaa"].relation) == ("a", Relation.FINE_TUNED_FROM)
    assert plain["aaa"].evidence["equal_to"] == "b"
    equal_roots = decide(subjects({"one": models["a"], "two": models["a"]}))
    assert not parents_found(equal_roots), "which of two equal models is the copy is not in the weights"
    assert {m: d.parent for m, d in plain.items() if m in parents} == parents
    old, new = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
    dated = subjects(models, aaa={"created_at": old}, b={"created_at": new})
    copy = next(d for d in decide(dated) if d.model == "b")
    assert (copy.parent, copy.relation, copy.decided_by) == ("aaa", Relation.COPY_OF, ("content", "dates"))
    assert next(d for d in decide(dated, Options(dates=False)) if d.model == "aaa").relation is not Relation.COPY_OF
    declared = decide(subjects(models, b={"declared": frozenset({"aaa"})}))
    assert next(d for d in declared if d.model == "b").parent == "aaa"
    claimed = {"declared": frozenset({"aaa"}), "created_at": old}
    younger = decide(subjects(models, b=claimed, aaa={"created_at": new}))
    assert not any(d.relation is Relation.COPY_OF for d in younger), "a claimed original that is younger is doubtful"


def test_a_file_on_disk_is_the_copy_of_what_is_published():
    models, _ = three_generations()
    models["local:abc"] = models["b"]
    copy = next(d for d in decide(subjects(models)) if d.model == "local:abc")
    assert (copy.parent, copy.relation, copy.decided_by) == ("b", Relation.COPY_OF, ("content", "published"))


def test_a_half_precision_copy_is_a_leaf_under_the_finer_model():
    models, parents = three_generations()
    models["half"] = {n: v.astype(np.float16) for n, v in models["b"].items()}
    found = {d.model: d for d in decide(subjects(models))}
    assert (found["half"].parent, found["half"].relation) == ("b", Relation.QUANTIZED_FROM)
    assert {m: d.parent for m, d in found.items() if m in parents} == parents


def test_two_models_that_moved_alike_are_not_called_parent_and_child():
    for seed in range(4):
        root = start(5)
        models = {"one": tune(root, 10 * seed + 6), "two": tune(root, 10 * seed + 7)}
        decisions = decide(subjects(models))
        assert not parents_found(decisions)
        assert any("unseen" in str(d.reason) or "sibling" in str(d.reason) for d in decisions)


@pytest.mark.slow
def test_of_two_models_the_one_that_grew_is_the_child_once_a_card_or_a_date_says_that_the_parent_is_not_missing():
    old, new = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
    for seed in range(4):
        root = start(5)
        models = {"root": root, "child": tune(root, seed + 30)}
        (alone,) = [d for d in decide(subjects(models)) if d.model == "child"]
        assert alone.answer is AnswerKind.UNDECIDED and "unseen" in str(alone.reason)
        assert [c.parent for c in alone.candidates] == ["root"]
        assert 0.7 < alone.candidates[0].probability < 0.8
        sure = decide(subjects(models), Options(missing_parents=0.02))
        assert parents_found(sure) == {"child": "root"}
        dated = subjects(models, root={"created_at": old}, child={"created_at": new})
        assert parents_found(decide(dated)) == {"child": "root"}
        said = decide(subjects(models, child={"declared": frozenset({"root"})}))
        assert parents_found(said) == {"child": "root"}
        assert "declared" in next(d for d in said if d.model == "child").decided_by


def test_candidates_nearer_to_each_other_than_a_tenth_of_the_childs_distance_are_one_for_the_threshold():
    place = torch.tensor(
        [[0.0], [10.0], [10.5], [12.0]], dtype=torch.float64
    )  # the child, and three candidates on a line
    distance = torch.cdist(place, place).square()
    assert nearly_equal(0, 1, [1, 2, 3], distance) == [2]
    assert nearly_equal(0, 3, [1, 2, 3], distance) == []


def test_at_the_highest_threshold_nothing_is_asserted_and_nothing_breaks():
    models, _ = three_generations()
    decisions = decide(subjects(models), Options(threshold=1.0))
    assert not parents_found(decisions)
    assert {d.model for d in decisions} == set(models)


def test_a_quantized_copy_is_a_leaf_under_what_it_was_packed_from_and_nobodys_parent():
    models, parents = three_generations()
    packed = {n: (np.round(v / (s := np.abs(v).max() / 7)) * s).astype(np.float32) for n, v in models["b"].items()}
    models["q4"] = packed
    found = {d.model: d for d in decide(subjects(models, q4={"quantization": "gptq 4 bits"}))}
    assert (found["q4"].parent, found["q4"].relation) == ("b", Relation.QUANTIZED_FROM)
    assert {m: d.parent for m, d in found.items() if m in parents} == parents
    alone = {
        d.model: d
        for d in decide(
            subjects(
                {"q4": packed, "q4b": {n: v + np.float32(1e-3) for n, v in packed.items()}},
                q4={"quantization": "gptq 4 bits"},
                q4b={"quantization": "gptq 4 bits"},
            )
        )
    }
    assert not parents_found(alone.values())


@pytest.mark.slow
def test_a_detector_of_ones_own_takes_the_place_of_the_one_that_ships(tmp_path):
    models, _ = three_generations()
    save(shipped(), tmp_path / "same.safetensors", {})
    save(DirectionNetwork(), tmp_path / "untrained.safetensors", {})

    def said(**settings):
        decisions = decide(subjects(models), Options(settings=settings))
        return {d.model: d.evidence.get("detector_log_odds") for d in decisions if d.answer is not AnswerKind.ROOT}

    assert said(detector=str(tmp_path / "same.safetensors")) == said()
    assert said(detector=str(tmp_path / "untrained.safetensors")) != said()
    with pytest.raises(BadDetector, match="cannot be read"):
        said(detector=str(tmp_path / "nowhere.safetensors"))
