"""Shared tensors: matrices that are equal bit for bit in some models of a family, and not in others.

Frozen layers, merged adapters of a few modules, trained embeddings and edited matrices leave whole matrices as they were, in files of any
precision. Two trainings never arrive at the same matrix, so the models that have one are connected in the tree: between two of them lies
none that has another. So what a model shares with any relative that does not descend from it, its parent has as well; and of two that alone
share a matrix one comes from the other.

Dimension letters: m models, t tensors.
Source: characters without homoplasy, Le Quesne 1969, "A method of selection of characters in numerical taxonomy"; the use on weights is our
own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineage.detect.align import Layer, Part
from lineage.detect.arrays import Tensor, torch
from lineage.detect.family_values import plain, rounded

FEWEST_VALUES = 128  # of a tensor
# values by which a tensor must differ to be another one: a few may have been rounded alike by chance
FEWEST_CHANGED = 16
CLASSES = 32  # of models that share a tensor, for which those are looked for that hardly differ
FULL_DIGITS = 24
# share of a tensor's values by which it may differ where some models are stored in 11 digits and some in 8: both are rounded, one twice
TWICE_ROUNDED = 0.1
HELD_BY_TWO = 0.02  # share of the values
SIDES = 3.0  # log-odds at most


@dataclass(frozen=True, slots=True)
class SharedTensors:
    """
    Attributes:
        codes: (t, m) int64: of each tensor that some models share and others have not, equal numbers where it is equal.
        values: (t,) float64: how many values each has; body: (t,) bool: whether it is of the body and no head, which is trained anew.
        parted: whether no two models share some other tensor of the body.
        copied: (m,) bool: whether another model, which is not among these, has all of a model's tensors.
    """

    codes: Tensor
    values: Tensor
    body: Tensor
    parted: bool
    copied: Tensor

    def shared(self) -> Tensor:
        """(m, m) float64: number of values in the tensors that two models share."""
        return self._over_pairs(self.codes >= 0)

    def by_two(self) -> Tensor:
        """(m, m) bool: whether two models share a tensor that no other model has."""
        return self._over_pairs(_members(self.codes) == 2) > 0

    def undone(self, root: int) -> Tensor:
        """(m, m) bool, [child, parent]: whether the child has a tensor of the root that the parent has not, so that it does not come from
        the parent."""
        as_root = (self.codes == self.codes[:, root : root + 1]).double()  # (t, m)
        return (as_root * self.values[:, None]).T @ (1 - as_root) > 0

    def inner(self) -> Tensor:
        """(m,) bool: whether a model lies between others in the tree, so that it is what they come from, or one of them by way of it.

        A model of which every tensor is also another one's has no branch of its own. Where two others have one tensor of it together it is
        no merge of theirs either.
        """
        if self.parted:
            return torch.zeros(self.codes.shape[1], dtype=torch.bool)
        codes, values = self.codes[self.body], self.values[self.body]
        members = _members(codes)
        held = values @ (members > 2).double()  # (m,)
        return (members > 1).all(0) & (held > HELD_BY_TWO * values.sum())

    def crossed(self, model: int) -> bool:
        """Whether two others have each much of a model that the other one has not, and no two that have something of it have anything
        together that it has not.

        Two trainings that left unlike parts of one model as they were show so where they met: a third training of an unseen model would
        have changed only what both of them changed as well.
        """
        codes, values = self.codes[self.body], self.values[self.body]
        same = codes == codes[:, model : model + 1]  # (t, m)
        some = same.any(0) & (torch.arange(codes.shape[1]) != model)
        if int(some.sum()) < 2:
            return False
        codes, has = codes[:, some], same[:, some].double()  # (t, n)
        of_one = (has * values[:, None]).T @ (
            1 - has
        )  # (n, n): values that one has from the model and the other has not
        much = of_one >= HELD_BY_TWO * float(values.sum())
        elsewhere = (_members(codes) > 1) & (has == 0)
        return bool((much & much.T).any()) and not bool(elsewhere.any())

    def side_of_tree(self, distance: Tensor) -> Tensor:
        """(m,) float64, 0 or negative: log-odds that a model is the root rather than another one that it is surely next to in the tree.

        A tree grows from either in as many orders as there are models on its side of the edge between them, Shah & Zaman 2011, "Rumors in a
        network: who's the culprit?", arXiv 0909.4370. Two models are next to each other if they alone share a tensor, or one is inner.

        Args:
            distance: (m, m) squared.
        """
        inner, shared, alone = self.inner(), self.shared() > 0, self.by_two()
        odds = torch.zeros(len(inner), dtype=torch.float64)
        for other in range(len(inner)):
            beside = alone[other] | (shared[other] & inner[other] & ~inner)
            if bool(beside.any()):
                near = distance[:, beside]  # (m, b): how many are on the side of each, and not of the other one
                nearer = (near < distance[:, other : other + 1]).double().sum(0)
                side = (nearer / (len(inner) - nearer)).clamp(min=1e-300).log().clamp(-SIDES, 0.0)
                odds[beside] = torch.minimum(odds[beside], side)
        return odds

    def _over_pairs(self, counted: Tensor) -> Tensor:
        models = self.codes.shape[1]
        total = torch.zeros(models, models, dtype=torch.float64)
        for codes, values, these in zip(self.codes, self.values.tolist(), counted, strict=True):
            total += values * ((codes[:, None] == codes[None, :]) & these[:, None])
        return total.fill_diagonal_(0.0)


def shared_tensors(layers: Sequence[Layer], digits: Sequence[int], copied: Sequence[bool]) -> SharedTensors:
    """
    Args:
        copied: of m models, whether another one has all of its tensors.
        layers: of m models, values (m, u, w); vectors are left out, which 16 bits often leave as they are.
        digits: binary digits in which each model is stored. What is stored in more has a tensor if that is the same in the fewest.
    """
    models, fewest = len(layers[0].values), min(digits)
    unlike = len({d for d in digits if d < FULL_DIGITS}) > 1
    found: list[list[int]] = []
    values: list[float] = []
    body: list[bool] = []
    parted = False
    for layer in layers:
        rows = layer.values.flatten(1)  # (m, v)
        if layer.values.shape[2] > 1 and rows.shape[1] >= FEWEST_VALUES:
            plain_rows = plain(rows)
            least = max(FEWEST_CHANGED, round(TWICE_ROUNDED * rows.shape[1]) if unlike else 0)
            codes = _codes(rounded(plain_rows, fewest) if fewest < max(digits) else plain_rows, least)
            in_body = layer.part is not Part.REST
            parted |= in_body and len(set(codes)) == models
            if models > len(set(codes)) > 1:
                found.append(codes)
                values.append(float(rows.shape[1]))
                body.append(in_body)
    return SharedTensors(
        torch.tensor(found, dtype=torch.int64).reshape(-1, models),
        torch.tensor(values, dtype=torch.float64),
        torch.tensor(body, dtype=torch.bool),
        parted,
        torch.tensor(list(copied)),
    )


def _members(codes: Tensor) -> Tensor:
    """(t, m) codes -> (t, m) float64: how many models have each model's tensor."""
    ones = torch.ones(codes.shape, dtype=torch.float64)
    models = int(codes.max()) + 1 if codes.numel() else 0
    return torch.zeros(len(codes), models, dtype=torch.float64).scatter_add_(1, codes, ones).gather(1, codes)


def _codes(rows: np.ndarray, least: int) -> list[int]:
    """(m, v) -> a number for each model, equal where the rows are; those that differ from shared ones by less than `least` are taken for
    them."""
    rows = rows + 0.0  # minus zero is zero
    first: dict[bytes, int] = {}
    codes = [first.setdefault(row.tobytes(), place) for place, row in enumerate(rows)]
    for one, count in Counter(codes).most_common(CLASSES):
        if count < 2 or one not in codes:
            continue
        changed = (rows != rows[one]).sum(1)
        same = {codes[place] for place in np.flatnonzero((changed > 0) & (changed < least)).tolist()}
        codes = [one if code in same else code for code in codes]
    return codes
