"""Samples of copies and models as numbers, decoded once; and of many models those that a copy is compared with in full."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.detect.model_input import Subject
from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_store import Sample

CANDIDATES, PREVIEW_VALUES = 64, 16_384  # models compared in full, and values by which these are chosen
KEPT_VALUES = 1 << 26  # decoded values in memory


class SampledValues:
    """Samples as numbers, decoded once as long as they are few."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], np.ndarray] = {}
        self._left = KEPT_VALUES
        self._previews: dict[tuple[tuple[str, int, int], ...], np.ndarray] = {}

    def of(self, subject: Subject, sample: Sample) -> np.ndarray:
        """(values,) float32 or float64."""
        key = subject.id, sample.name
        if key in self._known:
            return self._known[key]
        found = sample.values()
        if self._left >= len(found):
            self._known[key] = found
            self._left -= len(found)
        return found

    def shared(self, one: Subject, other: Subject, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The values of a tensor that both samples hold, (values,) each; None where there are none."""
        first, second = one.sketch.samples.get(name), other.sketch.samples.get(name)
        if first is None or second is None or not {first.dtype, second.dtype} <= FLOAT_DTYPES:
            return None
        if len(first.shape) != len(second.shape) or first.shape[1:] != second.shape[1:]:
            return None
        start, stop = first.common(second)
        if stop <= start:
            return None
        mine = self.of(one, first)[start - first.start : stop - first.start]
        return mine, self.of(other, second)[start - second.start : stop - second.start]

    def previews(self, places: tuple[tuple[str, int, int], ...], models: Sequence[Subject]) -> np.ndarray:
        """Values of all models at some places, NaN where a model has none there; made once for all copies of one layout.

        Args:
            places: (tensor, first, last) offsets within it.
        Returns:
            (models, values) float32.
        """
        if places not in self._previews:
            found = np.full((len(models), sum(last - first for _, first, last in places)), np.nan, np.float32)
            for row, subject in zip(found, models, strict=True):
                at = 0
                for name, first, last in places:
                    sample = subject.sketch.samples.get(name)
                    if (
                        sample is not None
                        and sample.start <= first
                        and last <= sample.stop
                        and sample.dtype in FLOAT_DTYPES
                    ):
                        row[at : at + last - first] = sample.values()[first - sample.start : last - sample.start]
                    at += last - first
            self._previews = {places: found}  # copies of one group mostly have one layout
        return self._previews[places]


def likely_originals(copy: Subject, models: Sequence[Subject], values: SampledValues) -> list[Subject]:
    """The models that a copy is compared with in full: where there are many, the nearest by some of its values."""
    if len(models) <= CANDIDATES:
        return list(models)
    places: list[tuple[str, int, int]] = []
    left = PREVIEW_VALUES
    for name, sample in copy.sketch.samples.items():
        if left > 0 and sample.dtype in FLOAT_DTYPES:
            places.append((name, sample.start, min(sample.stop, sample.start + left)))
            left -= places[-1][2] - places[-1][1]
    mine = np.concatenate([values.of(copy, copy.sketch.samples[n])[: last - first] for n, first, last in places])
    its = values.previews(tuple(places), models)  # (models, values)
    with np.errstate(all="ignore"):
        apart = np.nansum(np.square(its - mine.astype(np.float32)), 1) / (~np.isnan(its)).sum(1)  # (models,)
    order = np.argsort(np.where(np.isnan(apart), np.inf, apart), kind="stable")[:CANDIDATES]
    return [models[place] for place in sorted(order.tolist())]
