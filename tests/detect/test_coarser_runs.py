"""A merge that was run again in fewer digits has the parents of the first run; what was trained from the first run has not."""

import numpy as np
import pytest

from lineage.detect import merges as merges_module
from lineage.detect.align import align
from lineage.detect.arrays import torch
from lineage.detect.coarser_runs import possible_runs, rounded_before
from lineage.detect.family_values import FamilyValues, family_values, plain, rounded
from lineage.detect.gram import gram
from lineage.detect.merges import merges
from lineage.detect.weighted_sum import WeightedSum
from tests.builders import sketch_of, start, tune

ONE, OTHER, MERGE, RUN, TUNED = 1, 2, 3, 4, 5


def family() -> list[dict[str, np.ndarray]]:
    """Base, two tunings, their mean, the same in half precision, and a light tuning of the mean in half precision."""
    base = start(1)
    one, other = (tune(base, seed, 0.05, decay=0.0) for seed in (2, 3))
    mean = {name: (0.6 * one[name] + 0.4 * other[name]).astype(np.float32) for name in base}
    half = [{n: v.astype(np.float16).astype(np.float32) for n, v in model.items()} for model in (one, other)]
    run = {n: (0.6 * half[0][n] + 0.4 * half[1][n]).astype(np.float16) for n in base}
    tuned = {n: v.astype(np.float16) for n, v in tune(mean, 7, 2e-4, decay=0.0).items()}
    return [base, one, other, mean, run, tuned]


@pytest.fixture(scope="module")
def aligned():
    layers = align([sketch_of(weights, f"m{i}") for i, weights in enumerate(family())], torch.device("cpu"))
    products = gram(layers)
    return layers, products, products.distances()


def test_parts_that_were_rounded_first_tell_a_second_run_from_a_tuning(aligned) -> None:
    layers, _, distance = aligned
    values = family_values(layers, distance)
    assert values.digits.tolist() == [24, 24, 24, 24, 11, 11]
    assert rounded_before(values, RUN, MERGE, [ONE, OTHER])
    assert not rounded_before(values, TUNED, MERGE, [ONE, OTHER])
    runs = possible_runs(values, plain(distance), {MERGE: (ONE, OTHER)})
    assert runs == {RUN: (MERGE, [ONE, OTHER]), TUNED: (MERGE, [ONE, OTHER])}
    assert possible_runs(values, plain(distance), {RUN: (ONE, OTHER)}) == {MERGE: (RUN, [ONE, OTHER])}
    settled = {MERGE: (ONE, OTHER), RUN: (ONE, OTHER), TUNED: (MERGE, ONE)}
    again = possible_runs(values, plain(distance), settled)
    assert again[TUNED] == (MERGE, [ONE, OTHER]) and RUN not in again


def test_a_run_in_fewer_digits_that_was_not_found_gets_the_parts_of_the_other_run(aligned, monkeypatch) -> None:
    layers, products, distance = aligned
    span = WeightedSum(((ONE, 0.6), (OTHER, 0.4)), None, 0.0, "linear", 0.0)
    monkeypatch.setattr(merges_module, "span_merges", lambda *_: {MERGE: span})
    monkeypatch.setattr(merges_module, "claimed_sum", lambda *_: None)
    found = merges(layers, products, distance)
    assert set(found) == {MERGE, RUN} and found[RUN].parts == found[MERGE].parts == ((ONE, 0.6), (OTHER, 0.4))
    assert found[RUN].model == RUN


def test_where_a_part_may_not_have_been_there_before_a_model_is_no_run_of_its_merge(aligned) -> None:
    layers, _, distance = aligned
    sources = np.ones((6, 6), bool)
    sources[RUN, ONE] = False
    values: FamilyValues = family_values(layers, distance, sources)
    assert RUN not in possible_runs(values, plain(distance), {MERGE: (ONE, OTHER)})


def test_what_is_near_to_a_merge_by_chance_is_no_run_of_it() -> None:
    """The sum of the parts is finer than the merge, so that more of a near model's values in 16 bits are its values."""
    chance = np.random.default_rng(11)
    parts = 0.1 * chance.standard_normal((2, 4096))
    merge = rounded((0.67 * parts[0] + 0.33 * parts[1]).astype(np.float32), 8)
    near = (merge * (1 + 1e-3 * chance.standard_normal(4096))).astype(np.float16)
    rows = np.stack([*parts, merge, near]).astype(np.float32)
    values = FamilyValues((rows,), np.array([24, 24, 8, 11]), np.ones(4), np.arange(4), {11: np.arange(4)})
    assert not rounded_before(values, 3, 2, [0, 1])
