"""Relatedness, direction, balance, counters, drift and content, each against an obvious reference or its guarantee."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lineage.detect.align import align
from lineage.detect.arrays import by_numpy
from lineage.detect.arrays import torch as seam
from lineage.detect.gram import gram
from lineage.detect.signals.balance import balance, parting
from lineage.detect.signals.content import copies, is_rounded_copy, precision
from lineage.detect.signals.counters import LOG_ODDS, counters
from lineage.detect.signals.direction import direction
from lineage.detect.signals.drift import drift
from lineage.detect.signals.opposition import TOLERANCE, against, bounded, strength
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.signals.retention import KEPT, unit_distances, votes
from lineage.detect.sketch_file import Sample
from tests.builders import sketch_of, start, three_generations, tune

CPU = torch.device("cpu")


def layers_of(*models):
    return align([sketch_of(m, str(i)) for i, m in enumerate(models)], CPU)


def test_relatedness_agrees_with_the_obvious_float64_reference_and_parts_relatives_from_strangers():
    a = start(1)
    b, stranger = tune(a, 2), start(3)
    found = relatedness(layers_of(a, b, stranger))
    total = weight = 0.0
    for name, values in a.items():
        if values.ndim < 2:
            continue
        x, y = (v[name].astype(np.float64) for v in (a, b))
        x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
        x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
        cosines = x @ y.T
        own = np.trace(cosines) / len(x)
        other = (cosines.sum() - np.trace(cosines)) / (len(x) * (len(x) - 1))
        total += values.size * (own - other)
        weight += values.size
    assert float(found[0, 1]) == pytest.approx(total / weight, abs=1e-5)
    assert float(found[0, 1]) > 0.8
    assert abs(float(found[0, 2])) < 0.05


@pytest.mark.parametrize("small", [False, True], ids=["torch", "numpy"])
def test_units_that_decay_took_to_nothing_say_nothing(small):
    """The squares of their values have no room in float32, and their lengths none either."""
    a, b, stranger = (start(seed) for seed in (1, 1, 3))
    b = tune(b, 2)
    for model, smallest in ((a, 3e-24), (b, 2e-24), (stranger, 1e-24)):
        model["layers.0.weight"][:90] = smallest * start(7)["layers.0.weight"][:90]
    with by_numpy(small):
        found = relatedness(align([sketch_of(m) for m in (a, b, stranger)], seam.device("cpu")))
    assert 0.3 < float(found[0, 1]) <= 1 and abs(float(found[0, 2])) < 0.05


def test_direction_turns_with_the_pair_exactly_and_sees_growth_and_decay():
    a = start(1)
    grown = tune(a, 2, decay=0.0)
    decayed = {n: np.float32(0.7) * v for n, v in tune(a, 3, moved=0.02, decay=0.0).items()}
    said = direction(layers_of(a, grown, decayed), torch.tensor([[0, 1], [1, 0], [0, 2], [2, 0]]))
    assert said[0] == -said[1]
    assert said[2] == -said[3]
    assert said[0] > 1
    assert said[2] > 1


def test_balance_is_one_for_parent_and_child_and_none_for_siblings():
    a = start(1)
    one, two = tune(a, 2, decay=0.0), tune(a, 3, decay=0.0)
    found = balance(layers_of(a, one, two), torch.tensor([[0, 1], [1, 2]]))
    assert float(found[0]) == pytest.approx(1.0, abs=0.15)
    assert abs(float(found[1])) < 0.15
    assert float(parting(found)[1]) > 1 > 0 > float(parting(found)[0])


def test_the_lower_count_of_batches_came_first_and_equal_or_missing_counts_say_nothing():
    def counted(batches):
        more = {} if batches is None else {"norm.num_batches_tracked": np.array(batches, np.int64)}
        return sketch_of(start(1) | more)

    found = counters([counted(10), counted(25), counted(25), counted(None)])
    assert found[:, 0].tolist() == [0, LOG_ODDS, LOG_ODDS, 0]
    assert found[:, 1].tolist() == [-LOG_ODDS, 0, 0, 0]


def test_drift_is_the_cosine_of_the_movements_seen_from_a_model():
    models, _ = three_generations()
    layers = layers_of(*models.values())
    x = torch.cat([layer.values.reshape(len(models), -1) for layer in layers if layer.values.shape[2] > 1], 1).double()
    one, two = x[1] - x[0], x[2] - x[0]
    assert float(drift(gram(layers).products.sum(0), 0)[1, 2]) == pytest.approx(
        float(one @ two / one.norm() / two.norm()), abs=1e-6
    )


def test_equal_values_are_copies_whatever_dtype_stores_them():
    half = {n: v.astype(np.float16) for n, v in start(1).items()}
    sketches = [
        sketch_of(half, "a"),
        sketch_of(start(2), "b"),
        sketch_of({n: v.astype(np.float32) for n, v in half.items()}, "c"),
    ]
    assert copies(sketches) == {0: [2]}


def test_a_copy_without_counters_or_with_them_in_another_shape_is_one_and_one_that_counted_on_is_not():
    def counted(*count):
        return {**start(1), "bn.num_batches_tracked": np.array(*count)}

    sketches = [sketch_of(m, str(i)) for i, m in enumerate((counted(7), start(1), counted([7]), start(2)))]
    assert copies(sketches) == {0: [1, 2]}
    assert copies([*sketches, sketch_of(counted(9), "on")]) == {0: [2]}, (
        "whose copy the one without counters is, is not known"
    )
    bare = {n: v for n, v in start(1).items() if v.ndim > 1}
    assert copies([sketch_of(bare), sketches[0]]) == {0: [1]}, "an export without its vectors"
    coarse = {n: v.astype(np.float16) if v.dtype == np.float32 else v for n, v in counted([7]).items()}
    assert is_rounded_copy(sketch_of(coarse), sketches[0])


def test_a_rounded_copy_is_recognised_and_one_changed_value_is_enough_to_refuse():
    fine = start(1)
    coarse = {n: v.astype(np.float16) for n, v in fine.items()}
    assert precision(sketch_of(coarse)) < precision(sketch_of(fine))
    assert is_rounded_copy(sketch_of(coarse), sketch_of(fine))
    coarse["layers.1.weight"][3, 5] += np.float16(0.01)
    assert not is_rounded_copy(sketch_of(coarse), sketch_of(fine))


def test_of_equal_values_in_two_dtypes_neither_is_the_other_one_rounded():
    """As where a half model is loaded into a larger one, which is then saved in full."""
    half = {n: v.astype(np.float16) for n, v in start(1).items()}
    assert not is_rounded_copy(sketch_of(half), sketch_of({n: v.astype(np.float32) for n, v in half.items()}))


def test_a_rounded_copy_is_one_where_other_rows_were_sampled_as_well():
    rng = np.random.default_rng(4)
    fine = {name: rng.standard_normal((32, 16)).astype(np.float32) for name in ("a.weight", "b.weight")}
    coarse = sketch_of({name: values.astype(np.float16) for name, values in fine.items()})

    def rows(name: str, first: int, last: int) -> Sample:
        sample = coarse.samples[name]
        return replace(sample, start=16 * first, stop=16 * last, raw=sample.raw[32 * first : 32 * last])

    part = replace(coarse, samples={"a.weight": rows("a.weight", 4, 20), "b.weight": rows("b.weight", 0, 8)})
    upper = sketch_of({name: values[:16] for name, values in fine.items()})
    samples = {n: replace(s, shape=(32, 16)) for n, s in upper.samples.items()}
    assert is_rounded_copy(part, replace(upper, samples=samples))
    elsewhere = replace(rows("a.weight", 5, 21), start=64, stop=320)
    moved = replace(part, samples={**part.samples, "a.weight": elsewhere})
    assert not is_rounded_copy(moved, replace(upper, samples=samples))


def test_opposition_agrees_with_the_obvious_reference_and_picks_the_root_of_a_star():
    rng = np.random.default_rng(5)
    root, shared = rng.standard_normal(400), rng.standard_normal(400)
    steps = (0.02, 0.2, 0.4, 0.8)  # one child hardly moved, one moved far
    models = np.stack([root, *(root + s * (0.5 * shared + rng.standard_normal(400)) for s in steps)])
    products, lengths = torch.from_numpy(models @ models.T), torch.from_numpy(np.square(models).sum(1))
    for origin in range(len(models)):
        away = [m - models[origin] for i, m in enumerate(models) if i != origin]
        cosine = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in away] for b in away]
        lowest = [min(c for j, c in enumerate(row) if j != i) for i, row in enumerate(cosine)]
        expected = [max(0.0, -c - TOLERANCE - 3 / 20) for c in lowest]
        moved = drift_of(products, lengths, origin)
        assert against(*moved, origin, 400).tolist() == pytest.approx(expected, abs=1e-9)

    def opposed(root, values, count=5):
        seen = drift_of(products[:count, :count], lengths[:count], root)
        return float(bounded(strength(against(*seen, root, values))))

    few, many = ([opposed(root, values) for root in range(5)] for values in (400, 1 << 20))
    assert many.index(max(many)) == 0
    assert many[1] < few[1] <= 0, "the same cosine says more of more values"
    assert opposed(0, 400, count=2) == 0, "two models have no angle"


def test_a_few_members_that_lie_opposite_by_chance_speak_less_against_a_root_than_as_many_votes_of_all():
    few = torch.tensor([0.5, 0.5, 0.45, *[0.0] * 27], dtype=torch.float64)
    all_of_them = torch.full((30,), float(few.mean()), dtype=torch.float64)
    assert float(strength(few)) < 0.15 * float(strength(all_of_them))
    assert float(strength(all_of_them)) == pytest.approx(30**0.5 * float(few.mean())), (
        "behind a stand-in all see the root"
    )


def drift_of(products, lengths, origin):
    """Cosines seen from a model, and how far the others moved from it in its lengths."""
    away = lengths - 2 * products[origin] + products[origin, origin]
    return drift(products, origin), away / lengths[origin]


def test_kept_agrees_with_slopes_of_single_units_and_tells_an_ancestor_from_a_sibling():
    root = start(1)
    parent, sibling = tune(root, 2), tune(root, 3)
    layers = layers_of(root, parent, sibling, tune(parent, 4))
    near = torch.tensor([[j for j in range(4) if j != i] for i in range(4)])
    voted = votes(unit_distances(layers, near, torch.arange(4)), near, 0)
    found = voted.kept
    trained = [layer.values.double() for layer in layers if layer.values.shape[2] > 1]
    for b in range(4):
        for place, s in enumerate(near[b].tolist()):
            single = []
            for values in trained:
                step, way = values[s] - values[0], values[b] - values[0]  # (u, w)
                slope = (step * way).sum(1) / step.square().sum(1)
                single += [float(v) > KEPT for v in slope if v == v]
            expected = sum(single) / len(single) if single else 0.0
            assert float(found[b, place]) == pytest.approx(expected, abs=0.01)
    child = near[3].tolist()
    assert float(found[3, child.index(1)]) > 0.9 > 0.5 > float(found[3, child.index(2)])
    lost = voted.lost[3]
    assert float(lost[child.index(1)]) < 0.02 < 0.2 < float(lost[child.index(2)])
    assert float(voted.fell[3, child.index(1)]) < 0.05 < float(voted.fell[3, child.index(2)])


def test_counts_of_other_layers_say_nothing():
    """A decoder that was put onto a trained encoder begins to count anew."""
    base = {**start(1), "bn1.num_batches_tracked": np.array(300)}
    child = {**start(1), "bn1.num_batches_tracked": np.array(460), "decoder.bn.num_batches_tracked": np.array(160)}
    other = {**start(1), "decoder.bn.num_batches_tracked": np.array(160)}
    found = counters([sketch_of(m, str(i)) for i, m in enumerate((base, child, other))])
    assert found.tolist() == [[0, -LOG_ODDS, 0], [LOG_ODDS, 0, 0], [0, 0, 0]]


def test_counts_of_heads_that_were_not_made_of_one_another_say_nothing():
    random = np.random.default_rng(2)

    def with_head(fuse, batches):
        counter = {"decode_head.batch_norm.num_batches_tracked": np.array(batches)}
        rows = {"decode_head.classifier.weight": classes, "decode_head.linear_fuse.weight": fuse.astype(np.float32)}
        return sketch_of({**start(1), **rows, **counter}, str(batches))

    classes = random.normal(0, 0.1, (10, 32)).astype(np.float32)  # two trainings on the same classes make them alike
    one, other = random.normal(0, 0.1, (2, 32, 64))
    kept = one + random.normal(0, 0.02, one.shape)
    found = counters([with_head(one, 60), with_head(other, 80), with_head(kept, 90)])
    assert found.tolist() == [[0, 0, -LOG_ODDS], [0, 0, 0], [LOG_ODDS, 0, 0]]


def test_models_with_heads_of_other_sizes_are_no_copies_though_no_head_is_sampled():
    def with_head(classes):
        sketch = sketch_of(start(1))
        return replace(sketch, layout={**sketch.layout, "classifier.weight": (classes, 48)})

    assert copies([with_head(2), with_head(3), with_head(2)]) == {0: [2]}
    assert copies([with_head(2), sketch_of(start(1))]) == {0: [1]}
