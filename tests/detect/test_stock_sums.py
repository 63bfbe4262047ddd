"""Model Stock in 16 bits: its tunings are found where an adapter left tensors alone, and its base among models near to it."""

import numpy as np

from lineage.detect.family_values import FamilyValues, rounded
from lineage.detect.stock_sums import stock_sum

BFLOAT16 = 8
TENSORS, VALUES = 8, 3000


def half(tensors):
    return [rounded(t.astype(np.float32), BFLOAT16) for t in tensors]


def family(left_alone=(), near=0):
    """The values of a base, four tunings, models near to the base, and the Model Stock of the first two tunings, the last.

    left_alone: tensors that the first tuning did not move; near: number of models that left the base by less than rounding.
    """
    chance = np.random.default_rng(3)
    base = [0.1 * chance.standard_normal(VALUES) for _ in range(TENSORS)]
    common = [0.004 * chance.standard_normal(VALUES) for _ in base]
    moves = [
        [0.0 if i in left_alone and not t else c + 0.004 * chance.standard_normal(VALUES) for i, c in enumerate(common)]
        for t in range(4)
    ]
    part = chance.uniform(0.1, 0.7, TENSORS)
    stock = [b + t * (one + other) / 2 for b, t, one, other in zip(base, part, *moves[:2], strict=True)]
    tunings = [[b + step for b, step in zip(base, move, strict=True)] for move in moves]
    hardly = [[b + 1e-4 * chance.standard_normal(VALUES) for b in base] for _ in range(near)]
    models = [half(m) for m in (base, *tunings, *hardly, stock)]
    tensors = tuple(np.stack(rows).astype(np.float32) for rows in zip(*models, strict=True))
    count = len(models)
    group = np.arange(count)
    group[5 : 5 + near] = 0
    hubs = np.array([*range(5, 5 + near), 0, 1, 2, 3, 4, count - 1])  # the models near to the base are nearer to most
    return FamilyValues(tensors, np.full(count, BFLOAT16), np.ones(count), hubs, {BFLOAT16: group})


def found(values):
    model = len(values.digits) - 1
    span = stock_sum(values, model, list(range(model)))
    return None if span is None else (span.base, {m for m, _ in span.members})


def test_tensors_that_an_adapter_left_alone_have_no_parts():
    assert found(family()) == (0, {1, 2})
    assert found(family(left_alone=(1, 4, 6))) == (0, {1, 2})


def test_the_base_is_sought_among_models_near_to_the_middle_of_the_family():
    assert found(family(near=5)) == (0, {1, 2})
