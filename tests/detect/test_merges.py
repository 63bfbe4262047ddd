"""Merges are found with their parents, shares, base and method, whatever else is in the family; nothing that was trained is called one."""

from itertools import combinations

import numpy as np
import pytest

from lineage.detect.decision import AnswerKind
from lineage.detect.family_values import FamilyValues
from lineage.detect.merges import Merge, merged_decision, with_bases
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.span_fit import view
from lineage.detect.span_merges import _as_good, _valid
from lineage.detect.trimmed_merges import exactest_base, surest_base, without_turned_round
from lineage.detect.trimmed_verdict import TrimmedMerge, TrimmedSums
from lineage.detect.value_merges import _moved_by_steps
from lineage.detection import as_edges
from lineage.graphdb.schema import Relation
from tests.builders import SHAPES, sketch_of, start, three_generations, tune


def said(models):
    return {
        d.model: d for d in decide([Subject(n, sketch_of(w, n)) for n, w in models.items()], Options(detector=False))
    }


def mean(one, other, share):
    return {name: ((1 - share) * one[name] + share * other[name]).astype(np.float32) for name in one}


def star(children=16, moved=0.05, seed=1, shapes=SHAPES):
    """A base and tunings of it, each of which moved by another amount."""
    models = {"base": start(seed, shapes)}
    for i in range(children):
        models[f"t{i}"] = tune(models["base"], seed * 100 + i + 1, moved * (0.5 + i % 4), decay=0.0)
    return models


def summed(models, weights, base=None):
    """Sum of weighted models, or of their weighted differences from the base."""
    out = {}
    for name in next(iter(models.values())):
        start_at = 0.0 if base is None else models[base][name].astype(np.float64)
        out[name] = (start_at + sum(w * (models[m][name] - start_at) for m, w in weights.items())).astype(np.float32)
    return out


def dropped(models, weights, base, density, seed=0):
    """DARE: random values of each difference are dropped and the others made larger."""
    random = np.random.default_rng(seed)
    out = {}
    for name, values in models[base].items():
        kept = [
            w * (models[m][name] - values) * (random.random(values.shape) < density) / density
            for m, w in weights.items()
        ]
        out[name] = (values + sum(kept)).astype(np.float32)
    return out


def trimmed(models, weights, base, density):
    """TIES: the largest values of each difference, of the sign that weighs more, and their weighted mean."""
    out = {}
    for name, values in models[base].items():
        deltas = []
        for m in weights:
            delta = models[m][name] - values
            deltas.append(np.where(np.abs(delta) >= np.quantile(np.abs(delta), 1 - density), delta, 0))
        share = np.array(list(weights.values())).reshape(-1, *[1] * values.ndim)
        weighted = np.stack(deltas) * share
        elected = np.sign(weighted) == np.where(weighted.sum(0) >= 0, 1, -1)
        out[name] = (values + (weighted * elected).sum(0) / np.maximum((share * elected).sum(0), 1e-9)).astype(
            np.float32
        )
    return out


def elected(models, parents, base, selected):
    """SCE: where differences vary most, the mean of those with the sign of their sum, weighted by their lengths in each tensor."""
    out = {}
    for name, values in models[base].items():
        deltas = np.stack([models[m][name] - values for m in parents])
        most = deltas.var(0) >= np.quantile(deltas.var(0), 1 - selected)
        deltas = np.where(most, deltas, 0)
        share = np.square(deltas).reshape(len(parents), -1).mean(1).reshape(-1, *[1] * values.ndim)
        weight = share * (np.sign(deltas) == np.where(deltas.sum(0) >= 0, 1, -1))
        out[name] = (values + (weight * deltas).sum(0) / np.maximum(weight.sum(0), 1e-12)).astype(np.float32)
    return out


def of_merge(found):
    return {name for name, _ in found.merged_from}


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_a_weighted_mean_of_two_siblings_has_two_parents_with_their_shares(share):
    models, parents = three_generations()
    models["soup"] = mean(models["b"], models["c"], share)
    found = said(models)
    soup = found["soup"]
    assert (soup.answer, soup.relation) == (AnswerKind.PARENT, Relation.MERGED_FROM)
    assert dict(soup.merged_from) == pytest.approx({"b": 1 - share, "c": share}, abs=1e-3)
    assert soup.parent == ("c" if share > 0.5 else soup.merged_from[0][0])
    edges, _ = as_edges([soup], Options())
    assert {(e.parent, e.kind): e.share for e in edges} == {
        ("b", Relation.MERGED_FROM): pytest.approx(1 - share, abs=1e-3),
        ("c", Relation.MERGED_FROM): pytest.approx(share, abs=1e-3),
    }
    assert [m for m, d in found.items() if d.merged_from] == ["soup"]
    assert {m: found[m].parent for m in parents if found[m].parent not in (None, parents[m])} == {}, (
        "parts come from no mean"
    )


def test_a_mean_stored_in_half_precision_is_still_one():
    models, _ = three_generations()
    models["soup"] = {n: v.astype(np.float16) for n, v in mean(models["b"], models["d"], 0.5).items()}
    assert {name for name, _ in said(models)["soup"].merged_from} == {"b", "d"}


def test_a_model_that_is_another_one_shrunk_by_half_is_no_mean():
    models, _ = three_generations()
    models["smaller"] = {n: (0.9 * v).astype(np.float32) for n, v in models["b"].items()}
    models["smallest"] = {n: (0.8 * v).astype(np.float32) for n, v in models["b"].items()}
    assert not [m for m, d in said(models).items() if d.merged_from]


@pytest.mark.slow
def test_a_mean_of_four_has_all_of_them_even_the_one_with_the_smallest_share():
    models = star()
    shares = {"t1": 0.4, "t6": 0.3, "t11": 0.25, "t3": 0.05}
    models["soup"] = summed(models, shares)
    assert dict(said(models)["soup"].merged_from) == pytest.approx(shares, abs=0.01)


@pytest.mark.slow
def test_several_merges_of_the_same_models_do_not_hide_each_other():
    models = star()
    models |= {f"soup{i}": mean(models["t1"], models["t2"], share) for i, share in enumerate((0.3, 0.5, 0.6))}
    models["of a soup"] = mean(models["soup1"], models["t7"], 0.5)
    found = said(models)
    assert [of_merge(found[f"soup{i}"]) for i in range(3)] == [{"t1", "t2"}] * 3
    assert of_merge(found["of a soup"]) == {"soup1", "t7"}
    assert not [m for m in models if m.startswith("t") and found[m].merged_from]


@pytest.mark.slow
def test_differences_that_were_added_to_the_base_name_it():
    models = star()
    models["more"] = summed(models, {"t1": 0.7, "t6": 0.6}, "base")
    found = said(models)["more"]
    assert of_merge(found) == {"t1", "t6"} and found.evidence["base"] == "base"
    assert found.evidence["weights"] == pytest.approx({"t1": 0.7, "t6": 0.6}, abs=0.01)
    assert found.evidence["method"] == "task arithmetic"


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_mean_along_the_sphere_has_two_parents(share):
    models = star(moved=0.2)
    one, other, out = models["t1"], models["t2"], {}
    for name in one:
        a, b = one[name].astype(np.float64), other[name].astype(np.float64)
        angle = np.arccos((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
        out[name] = ((np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)).astype(np.float32)
    models["soup"] = out
    found = said(models)["soup"]
    assert of_merge(found) == {"t1", "t2"} and found.evidence["method"] == "slerp"
    assert dict(found.merged_from) == pytest.approx({"t1": 1 - share, "t2": share}, abs=0.02)


@pytest.mark.slow
def test_tensors_taken_from_two_models_are_a_merge_of_both():
    models = star()
    models["stack"] = {n: models["t1" if n.startswith("layers.0") else "t2"][n] for n in models["t1"]}
    found = said(models)["stack"]
    assert of_merge(found) == {"t1", "t2"} and found.evidence["method"] == "passthrough"


@pytest.mark.slow
def test_a_model_of_which_one_layer_was_frozen_is_no_stack_of_its_parent_and_its_child():
    models = star()
    child = tune(models["t1"], 77, 0.05, decay=0.0)
    child = {n: models["t1"][n] if n.startswith("layers.0") else v for n, v in child.items()}
    grandchild = tune(child, 78, 0.05, decay=0.0)
    models["child"] = child
    models["grandchild"] = {n: child[n] if not n.startswith("layers.0") else v for n, v in grandchild.items()}
    assert not [m for m, d in said(models).items() if d.merged_from]


@pytest.mark.slow
@pytest.mark.parametrize("made", [dropped, trimmed])
@pytest.mark.parametrize("parents", [{"t1": 0.6, "t6": 0.4}, {"t1": 0.4, "t6": 0.3, "t10": 0.3}])
def test_merges_that_drop_values_name_their_parents_and_the_base(made, parents):
    models = star()
    models["merge"] = made(models, parents, "base", 0.5)
    found = said(models)
    assert of_merge(found["merge"]) == set(parents) and found["merge"].evidence["base"] == "base"
    assert ("DARE" if made is dropped else "TIES") in found["merge"].evidence["method"]
    assert [m for m, d in found.items() if d.merged_from] == ["merge"]


@pytest.mark.slow
@pytest.mark.parametrize("selected", [1.0, 0.5])
@pytest.mark.parametrize("parents", [("t1", "t6"), ("t1", "t6", "t10")])
def test_means_of_the_parents_of_one_sign_name_them_and_the_base(parents, selected):
    models = star()
    models["merge"] = elected(models, parents, "base", selected)
    found = said(models)
    assert of_merge(found["merge"]) == set(parents) and found["merge"].evidence["base"] == "base"
    assert [m for m, d in found.items() if d.merged_from] == ["merge"]


@pytest.mark.slow
def test_a_merge_with_a_parent_that_is_not_at_hand_names_the_other_one_alone():
    models = star()
    models["merge"] = dropped(models, {"t1": 0.6, "t6": 0.4}, "base", 0.5)
    del models["t6"]
    found = said(models)["merge"]
    assert of_merge(found) == {"t1"} and found.relation is Relation.MERGED_FROM
    assert "a further parent is not at hand" in str(found.reason) and found.evidence["unseen_part"] is True


@pytest.mark.slow
def test_what_was_trained_on_from_a_merge_is_its_child():
    models = star()
    models["merge"] = dropped(models, {"t1": 0.6, "t6": 0.4}, "base", 0.5)
    models["tuned"] = tune(models["merge"], 500, 0.02, decay=0.0)
    found = said(models)
    assert of_merge(found["merge"]) == {"t1", "t6"}
    assert (found["tuned"].parent, found["tuned"].relation) == ("merge", Relation.FINE_TUNED_FROM)


def near_base(models, count=8):
    """Tunings that hardly left the base: in half precision all of them are alike."""
    return {f"hardly{i}": tune(models["base"], 900 + i, 3e-5, decay=0.0) for i in range(count)}


def halved(weights):
    return {name: values.astype(np.float16) for name, values in weights.items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["task arithmetic", "DARE"])
def test_models_that_hardly_left_the_base_do_not_take_its_place(method):
    models = star()
    models |= near_base(models)
    parents = {"t1": 0.7, "t6": 0.6, "t3": 0.4}
    made = summed(models, parents, "base") if method == "task arithmetic" else dropped(models, parents, "base", 0.5)
    models["merge"] = halved(made)
    found = said(models)
    assert of_merge(found["merge"]) == set(parents) and method in found["merge"].evidence["method"]
    assert found["merge"].evidence["base"] == "base"
    assert [m for m, d in found.items() if d.merged_from] == ["merge"]


@pytest.mark.slow
def test_a_light_sibling_on_the_way_to_a_part_does_not_hide_the_base_and_the_part():
    models = star(8)
    models["far"] = tune(models["base"], 77, 2.5, decay=0.0)
    random = np.random.default_rng(5)
    models["way"] = {
        name: (v + 0.35 * (models["far"][name] - v) + 1e-3 * v.std() * random.standard_normal(v.shape)).astype(v.dtype)
        for name, v in models["base"].items()
    }
    models["sum"] = halved(summed(models, {"far": 0.16, "t1": 0.26, "t6": 0.28}, "base"))
    found = said(models)["sum"]
    assert of_merge(found) == {"far", "t1", "t6"} and found.evidence["base"] == "base"


@pytest.mark.slow
def test_a_stack_of_which_one_part_moved_less_than_half_precision_shows_has_both_parts():
    models = star()
    models |= near_base(models)
    models["little"] = tune(models["base"], 700, 2e-3, decay=0.0)
    stack = {n: models["little" if n.startswith("layers.0") else "t2"][n] for n in models["t1"]}
    models["stack"] = halved(stack)
    found = said(models)["stack"]
    assert of_merge(found) == {"little", "t2"} and found.evidence["method"] == "passthrough"


@pytest.mark.slow
def test_of_a_sum_and_its_parts_in_16_bits_the_sum_is_the_merge():
    models = {name: halved(weights) for name, weights in star().items()}
    models["sum"] = halved(summed(models, {"t1": 0.7, "t6": 0.7}, "base"))
    for i in range(6):
        models[f"of t1 {i}"] = halved(tune(models["t1"], 800 + i, 0.01, decay=0.0))
    found = said(models)
    assert of_merge(found["sum"]) == {"t1", "t6"} and found["sum"].evidence["base"] == "base"
    assert [m for m, d in found.items() if d.merged_from] == ["sum"]


@pytest.mark.slow
def test_two_merges_that_drop_values_of_the_same_parents_do_not_hide_each_other():
    models = star()
    models["two"] = trimmed(models, {"t1": 0.6, "t6": 0.4}, "base", 0.5)
    models["three"] = trimmed(models, {"t1": 0.3, "t6": 0.25, "t10": 0.45}, "base", 0.6)
    found = said(models)
    assert of_merge(found["two"]) == {"t1", "t6"} and of_merge(found["three"]) == {"t1", "t6", "t10"}


def test_of_two_that_are_each_others_base_the_one_in_the_middle_is_no_merge():
    """As of DELLA, where half of each difference was kept as it is."""
    found = {
        m: TrimmedMerge(((2, 0.5), (3, 0.5)), base, "DARE-TIES", 1.0, unseen=False)
        for m, base in {0: 1, 1: 0, 4: 0}.items()
    }
    assert set(without_turned_round(found, [0.8, 1.5, 0.5, 0.5, 0.7])) == {1, 4}
    assert set(without_turned_round(found, [1.5, 0.8, 0.5, 0.5, 0.7])) == {0, 4}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("weights", [{"t1": 1.5}, {"t1": -0.7}, {"t1": 1.0, "t6": -0.5}, {"t1": 1.1, "t6": 0.9}])
def test_weights_beyond_one_and_below_nothing_make_a_merge_of_nobody_else(weights, dtype):
    models = {name: {n: v.astype(dtype) for n, v in values.items()} for name, values in star().items()}
    models["beyond"] = {n: v.astype(dtype) for n, v in summed(models, weights, "base").items()}
    found = said(models)
    assert [m for m, d in found.items() if d.merged_from] == ["beyond"], "neither a parent nor the base is the merge"
    assert of_merge(found["beyond"]) == set(weights) and found["beyond"].evidence["base"] == "base"
    assert found["beyond"].evidence["weights"] == pytest.approx(weights, abs=0.01)
    assert not [m for m, d in found.items() if d.parent == "beyond"]


@pytest.mark.slow
def test_a_sum_of_two_models_with_a_negative_weight_has_both_as_parents_and_no_base():
    models = star()
    models["beyond"] = summed(models, {"t1": 1.4, "t6": -0.4})
    found = said(models)
    assert [m for m, d in found.items() if d.merged_from] == ["beyond"]
    assert of_merge(found["beyond"]) == {"t1", "t6"} and "base" not in found["beyond"].evidence
    assert "with weights of 1.40, -0.40" in str(found["beyond"].reason)


def half_stocked(models, tunings, base):
    """Model Stock as mergekit computes it in float16, every step rounded."""
    out = {}
    for name, start_at in models[base].items():
        steps = [models[t][name] - start_at for t in tunings]
        (cosine,) = [
            float((a * b).sum() / max(1e-6, np.linalg.norm(a) * np.linalg.norm(b))) for a, b in combinations(steps, 2)
        ]
        moved = np.float16(2 * cosine / (1 + cosine))
        mean = ((models[tunings[0]][name] + models[tunings[1]][name]) / np.float16(2)).astype(np.float16)
        out[name] = moved * mean + (np.float16(1) - moved) * start_at
    return out


def tasks_with_something_in_common(children=4):
    """Tunings whose changes agree in part, more of it in the first layers."""
    models = star(moved=0.02, shapes=SHAPES | {"layers.3.weight": (96, 64)})
    common = tune(models["base"], 40, 0.01, decay=0.0)
    part = {n: 2 / (1 + place) for place, n in enumerate(common)}
    common = {n: v + part[n] * (common[n] - v) for n, v in models["base"].items()}
    for i in range(children):
        models[f"c{i}"] = tune(common, 50 + i, 0.02, decay=0.0)
    return {name: halved(weights) for name, weights in models.items()}


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [False, True])
def test_model_stock_that_hardly_moves_the_base_has_its_tunings_as_parents(adapter):
    models = tasks_with_something_in_common()
    if adapter:  # which leaves a tensor as it is
        models["c2"]["layers.1.weight"] = models["base"]["layers.1.weight"]
    models["stock"] = half_stocked(models, ("c1", "c2"), "base")
    found = said(models)
    assert of_merge(found["stock"]) == {"c1", "c2"} and found["stock"].evidence["method"] == "model stock"
    assert found["stock"].evidence["base"] == "base"
    assert [m for m, d in found.items() if d.merged_from] == ["stock"]


@pytest.mark.slow
def test_three_parents_of_which_little_is_dropped_by_all_are_found():
    models = star()
    parents = {"t1": 0.4, "t6": 0.3, "t10": 0.3}
    models["merge"] = trimmed(models, parents, "base", 0.8)
    found = said(models)["merge"]
    assert of_merge(found) == set(parents) and found.evidence["base"] == "base"


ALIKE = {11: np.array([0, 0, 2, 3, 4])}  # of the rows below, and what is said of the last
DARE_OF_NEAR = TrimmedMerge(((2, 0.5), (3, 0.5)), 0, "DARE", 1.0, unseen=False)


def alike_in_16_bits():
    """A model near to a base, the base, two tunings of it, and what DARE makes of them: (5, v)."""
    chance = np.random.default_rng(5)
    base = chance.standard_normal(8192).astype(np.float16)
    near = np.where(chance.random(8192) < 0.2, np.nextafter(base, np.float16(9)), base)
    parents = [(base + 0.2 * chance.standard_normal(8192)).astype(np.float16) for _ in range(2)]
    kept = chance.random((2, 8192)) < 0.5
    merge = base + sum(k * (p - base.astype(np.float32)) for k, p in zip(kept, parents, strict=True))
    return np.stack([near, base, *parents, merge.astype(np.float16)]).astype(np.float32)


def test_of_models_alike_in_16_bits_the_one_whose_values_were_left_is_the_base():
    values = FamilyValues((alike_in_16_bits(),), np.full(5, 11), np.ones(5), np.arange(5), ALIKE)
    assert exactest_base(values, 4, DARE_OF_NEAR) == (1, ())


def test_of_models_near_to_the_base_the_one_is_named_whose_values_training_would_have_moved():
    rows = alike_in_16_bits()
    values = FamilyValues((rows,), np.full(5, 11), np.ones(5), np.arange(5), ALIKE, units=(64,))
    assert surest_base(values, 4, DARE_OF_NEAR, [0]) == (1, ())
    near, base, parent = (row.astype(np.float16) for row in rows[:3])
    tuned = np.stack([*rows[:4], parent + (base - near)]).astype(np.float32)
    values = FamilyValues((tuned,), np.full(5, 11), np.ones(5), np.arange(5), ALIKE, units=(64,))
    assert surest_base(values, 4, DARE_OF_NEAR, [0]) is None


def test_of_models_that_a_merge_does_not_tell_apart_the_one_the_others_were_trained_from_is_the_base():
    names = ["merge", "t1", "t2", "near", "base", "other"]
    said = merged_decision(names, Merge(0, ((1, 0.6), (2, 0.4)), 3, "TIES", 0.01, alike=(4, 5)))
    (found,) = with_bases([said], {"near": "base", "t1": "base", "t2": "base"})
    assert (
        found.evidence["base"] == "base"
        and "base" in str(found.reason)
        and found.evidence["perhaps_base"] == ["near", "other"]
    )
    assert of_merge(found) == {"t1", "t2"}
    (kept,) = with_bases([said], {"near": "elsewhere", "t1": "near"})
    assert kept.evidence["base"] == "near"


def test_a_sum_of_which_several_models_may_be_the_base_keeps_its_weights():
    names = ["merge", "t1", "t2", "near", "base"]
    said = merged_decision(
        names, Merge(0, ((1, 0.55), (2, 0.45)), 3, "task arithmetic", 0.01, weights=(0.71, 0.59), alike=(4,))
    )
    (found,) = with_bases([said], {"near": "base", "t1": "base", "t2": "base"})
    assert found.evidence["base"] == "base" and found.evidence["weights"] == {"t1": 0.71, "t2": 0.59}


def test_models_that_leave_as_much_of_a_sum_as_its_base_does_may_be_the_base():
    chance = np.random.default_rng(8)
    base = chance.standard_normal(8192)
    parents = base + 0.2 * chance.standard_normal((2, 8192))
    near = base + 1e-5 * chance.standard_normal(8192)
    far = base + 3e-3 * chance.standard_normal(8192)
    merge = (base + 0.7 * (parents[0] - base) + 0.6 * (parents[1] - base)).astype(np.float16)
    rows = np.stack([base, *parents, near, far, merge]).astype(np.float32)
    values = FamilyValues((rows,), np.array([24] * 5 + [11]), np.ones(6), np.arange(6), {11: np.arange(6)})
    seen = view(values, 5, range(5))
    assert _as_good(seen, np.array([0, 1, 2]), 0, [3, 4], origin=False) == [3]


def test_a_part_that_adds_little_is_needed_where_hardly_anything_remains_with_it():
    chance = np.random.default_rng(9)
    base = chance.standard_normal((2, 8192))
    parents = base + np.array([0.5, 0.4, 0.002])[:, None, None] * chance.standard_normal((3, 2, 8192))
    merge = (base + np.tensordot([0.15, 0.21, 0.34], parents - base, 1)).astype(np.float16)
    rows = [np.stack([base[i], *parents[:, i], merge[i]]).astype(np.float32) for i in range(2)]
    values = FamilyValues(tuple(rows), np.array([24] * 4 + [11]), np.ones(5), np.arange(5), {11: np.arange(5)})
    (found,) = _valid(view(values, 4, range(4)), np.arange(4)[None, :], values, origin=False)
    assert {member for member, _ in found.members} | {found.base} >= {1, 2, 3}


def test_another_merge_without_its_other_parents_is_no_part():
    """Two merges have one parent in common, which is not here: either is a sum of the other one and of what is at hand."""
    chance = np.random.default_rng(10)
    base = chance.standard_normal((2, 8192))
    steps = 0.3 * chance.standard_normal((4, 2, 8192))
    gone, *parents = base + steps
    other = base + 0.6 * (gone - base) + 0.45 * (parents[0] - base) + 0.26 * (parents[1] - base)
    merge = base + 0.42 * (gone - base) + 0.28 * (parents[2] - base)
    rows = [np.stack([base[i], *(p[i] for p in parents), other[i], merge[i]]).astype(np.float32) for i in range(2)]
    values = FamilyValues(tuple(rows), np.full(6, 24), np.ones(6), np.arange(6), {24: np.arange(6)})
    assert _valid(view(values, 5, range(5)), np.arange(5)[None, :], values, origin=False) == []


@pytest.mark.parametrize("weights", [(1 / 3, 1 / 3, 1 / 3), (0.4, 0.35, 0.25)])
def test_a_mean_of_checkpoints_is_one_although_all_come_from_the_first(weights):
    parts = tuple(enumerate(weights, 1))
    said = merged_decision(["mean", "s3", "s2", "s1"], Merge(0, parts, None, "linear", 0.01, weights=weights))
    (found,) = with_bases([said], {"s3": "s2", "s2": "s1"}, frozenset({"s1"}))
    assert found.reason.key == ("merge_mean" if len(set(weights)) == 1 else "merge_of")


def test_a_part_that_may_be_the_root_as_well_as_the_tree_s_own_is_the_base():
    names = ["merge", "t1", "base", "t2"]
    said = merged_decision(
        names, Merge(0, ((1, 0.45), (2, 0.3), (3, 0.25)), None, "linear", 0.01, weights=(0.45, 0.3, 0.25))
    )
    tree = {"t1": "hardly", "t2": "t1", "base": "hardly"}
    (found,) = with_bases([said], tree, frozenset({"hardly", "base"}))
    assert (found.evidence["base"], of_merge(found)) == ("base", {"t1", "t2"})
    for oldest in (frozenset({"hardly"}), frozenset({"hardly", "base", "t1"})):
        (kept,) = with_bases([said], tree, oldest)
        assert "base" not in kept.evidence and len(of_merge(kept)) == 3


@pytest.mark.slow
def test_values_taken_from_either_of_two_models_make_a_merge_of_both():
    models = star()
    one, other = models["t3"], models["t6"]
    models["fused"] = {
        n: np.where(np.abs(other[n] - v) > np.quantile(np.abs(other[n] - v), 0.8), other[n], v) for n, v in one.items()
    }
    found = said(models)
    assert of_merge(found["fused"]) == {"t3", "t6"} and "single values" in found["fused"].evidence["method"]
    assert [m for m, d in found.items() if d.merged_from] == ["fused"]


@pytest.mark.slow
def test_values_moved_towards_another_model_by_one_step_make_a_merge_of_both():
    models = star()
    one, other = models["t3"], models["t6"]
    step = float(np.median([np.median(np.abs(other[n] - one[n])) for n in one]))
    models["swapped"] = {n: (v + np.clip(other[n] - v, -step, step)).astype(np.float32) for n, v in one.items()}
    found = said(models)
    assert of_merge(found["swapped"]) == {"t3", "t6"}
    assert [m for m, d in found.items() if d.merged_from] == ["swapped"]


def test_a_small_step_is_found_where_values_are_of_many_sizes():
    """As mergekit computes it, so that what moved is off by the rounding of its value, and values of a tenth show that of large ones."""
    random = np.random.default_rng(2)
    one, third = (random.normal(size=4096) * np.exp(random.normal(size=4096)) * 0.1 for _ in range(2))
    other = one + 0.02 * random.normal(size=4096)
    away = np.maximum(np.abs(other - one), 1e-6)
    share = np.minimum(0.001 / away, 1)
    swapped = (share * other + (1 - share) * one).astype(np.float32)
    rows = np.stack([swapped, one, third, other]).astype(np.float32)
    found = _moved_by_steps(rows, np.array([4, 1, 2, 3]), 24)
    assert found is not None and found.all == {1, 3} and found.members[0][0] == 1
    rows[0] = one + 0.001 * random.normal(size=4096)
    assert _moved_by_steps(rows, np.array([4, 1, 2, 3]), 24) is None


@pytest.mark.parametrize(("share", "found"), [(0.2, True), (0.01, False)])
def test_what_has_hardly_anything_in_a_merge_that_drops_values_is_no_parent(share, found):
    random = np.random.default_rng(1)
    parts = random.normal(size=(2, 4, 1000)) * 50
    kept = random.choice(3, (4, 1000), p=(0.3, 0.7 - 0.7 * share, 0.7 * share))  # neither, the first, the second
    moved = np.where(kept == 1, parts[0], np.where(kept == 2, parts[1], 0.0))
    sums = np.stack([0 * parts[0], parts[0], parts[1], parts.sum(0)])
    merge = TrimmedSums(moved, parts, sums, np.full((4, 1000), 0.1)).judged([1, 2], 0, [2.0, 2.0])
    assert (merge is not None) is found
