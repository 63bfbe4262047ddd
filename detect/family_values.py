"""The values of a family in which merges are looked for: in which dtype each model was stored, and which models lie in the middle.

In: aligned tensors and distances. Out: arrays of numpy, rounded to the digits of the model in question before it is compared. Dimension
letters of everything about merges: m models, l tensors, v values, p members of a pool, s sets, n members of a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor
from lineage.detect.decode import round_to
from lineage.detect.near_models import representatives

ROUNDING_SQ = 0.18  # expected squared rounding error of a number of length 1, in squared units of its last digit
SMALLEST = 32.0  # values that much below the usual length count as that long
_DTYPES = {8: "BF16", 11: "F16"}
VALUES_FOR_DTYPE = 4096  # of a model, which tell the dtype that it was rounded to


@dataclass(frozen=True, slots=True)
class FamilyValues:
    """
    Attributes:
        tensors: (m, v) float32 values of each tensor that inner products were made of; digits: (m,) binary digits that each model's have.
        central: (m,) mean squared distance of each model to all others; hubs: (m,), those nearest to most others first.
        nearest: digits -> (m,) representative of each model among those that rounding to these digits makes alike.
        units: number of output units of each tensor, whose values follow each other.
        sources: (m, m) bool, [child, parent]: which models each one could have been made from, see possible_sources.py; None: any.
    """

    tensors: tuple[np.ndarray, ...]
    digits: np.ndarray
    central: np.ndarray
    hubs: np.ndarray
    nearest: Mapping[int, np.ndarray]
    units: tuple[int, ...] = ()
    sources: np.ndarray | None = None

    def possible(self, model: int, others: Iterable[int]) -> list[int]:
        """Those of the others that a model could have been made from."""
        return [m for m in others if m != model and (self.sources is None or self.sources[model, m])]

    def came_first(self, models: Iterable[int], child: int) -> bool:
        """Whether all models are known to have been there before another one."""
        return self.sources is not None and not any(self.sources[m, child] for m in models)

    def by_unit(self, model: int) -> list[np.ndarray]:
        """(u, w) values of one model in each tensor."""
        return [tensor[model].reshape(units, -1) for tensor, units in zip(self.tensors, self.units, strict=True)]

    def only(self, models: Sequence[int]) -> FamilyValues:
        """The same of some of the models, in the order given."""
        if list(models) == list(range(len(self.digits))):
            return self
        place = {model: i for i, model in enumerate(models)}
        hubs = np.array([place[h] for h in self.hubs.tolist() if h in place], np.int64)
        index = np.array(models, np.int64)
        nearest = {digits: _renumbered(chosen, index) for digits, chosen in self.nearest.items()}
        tensors = tuple(t[index] for t in self.tensors)
        sources = None if self.sources is None else self.sources[np.ix_(index, index)]
        return FamilyValues(tensors, self.digits[index], self.central[index], hubs, nearest, self.units, sources)

    def rank(self, model: int) -> int:
        """Place among the models in the middle."""
        return int(np.flatnonzero(self.hubs == model)[0])

    def rounded(self, models: Sequence[int], digits: int) -> list[np.ndarray]:
        """(k, v) float64 values of some models in each tensor, rounded to some digits, as they are before they are merged in a dtype."""
        return [rounded(tensor[np.array(models, np.int64)], digits) for tensor in self.tensors]


def rounded(values: np.ndarray, digits: int) -> np.ndarray:
    """Values in a coarser dtype, float64."""
    dtype = _DTYPES.get(digits)
    return (values if dtype is None else round_to(values, dtype)).astype(np.float64)


def family_values(layers: Sequence[Layer], distance: Tensor, sources: np.ndarray | None = None) -> FamilyValues:
    body = [layer for layer in layers if layer.part is not Part.REST]
    tensors = tuple(plain(layer.values.flatten(1)) for layer in body)
    apart = plain(distance)
    digits = stored_digits(tensors)
    length = float(np.mean([np.square(t, dtype=np.float64).sum(1).mean() for t in tensors])) * len(tensors)
    nearest = {d: representatives(apart, ROUNDING_SQ * 4.0**-d * length) for d in sorted(set(digits.tolist()))}
    central = apart.sum(1) / (len(apart) - 1)
    votes = _votes(apart, nearest[int(digits.min())])
    hubs = np.argsort(central / max(1e-300, float(central.max())) - votes, kind="stable")
    units = tuple(layer.values.shape[1] for layer in body)
    return FamilyValues(tensors, digits, central, hubs, nearest, units, sources)


def _votes(apart: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(m,) how many models each one is nearest to; near models count for their representative, and vote for it."""
    models = len(apart)
    some = np.unique(chosen)
    away = apart[:, some].copy()  # (m, r)
    away[some, np.arange(len(some))] = np.inf
    votes = some[away.argmin(1)] if len(some) > 1 else chosen
    near = chosen != np.arange(models)
    return np.bincount(np.where(near, chosen, votes), minlength=models)


def _renumbered(chosen: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Representatives (m,) among some of the models; where one is gone, the first of its near models is in its place."""
    _, first, group = np.unique(chosen[index], return_index=True, return_inverse=True)
    found = first[group]
    place = {int(model): i for i, model in enumerate(index)}
    return np.array([place.get(int(c), int(f)) for c, f in zip(chosen[index], found, strict=True)], np.int64)


def stored_digits(tensors: Sequence[np.ndarray]) -> np.ndarray:
    """(m,) binary digits that each model's values (m, v) have, whatever dtype stores them: 8 of bfloat16, 11 of float16, else 24."""
    each = max(1, VALUES_FOR_DTYPE // len(tensors))
    some = [t[:, np.linspace(0, t.shape[1] - 1, min(each, t.shape[1])).astype(np.int64)] for t in tensors]
    bits = np.ascontiguousarray(np.concatenate(some, 1), np.float32).view(np.uint32)  # (m, v)
    digits = np.full(len(bits), 24, np.int64)
    for count in (11, 8):
        digits[((bits & ((1 << (24 - count)) - 1)) == 0).all(1)] = count
    return digits


def last_digit(values: np.ndarray, digits: int) -> np.ndarray:
    """(v,) what one unit in the last place of each value is worth, that of the smallest ones taken larger: their parents were larger."""
    least = float(np.sqrt(np.square(values).mean())) / SMALLEST
    return last_place(np.clip(np.abs(values), least, None), digits)


def last_place(size: np.ndarray, digits: int) -> np.ndarray:
    """What one unit in the last place of numbers of such sizes is worth, of the same shape."""
    _, exponent = np.frexp(np.clip(size, 1e-30, None))
    return np.ldexp(np.ones_like(size), exponent - digits)


def plain(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.cpu().numpy())
