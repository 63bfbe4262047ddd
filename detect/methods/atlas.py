"""The rules by which the Model Atlas is charted, for evaluation (Horwitz et al. 2025, https://arxiv.org/abs/2503.10633).

In order of publication: an exact duplicate and a quantized copy are leaves under what they equal most; a parent is never younger than
its child; of the K nearest earlier models the nearest is the parent where distance follows time (checkpoints of one run, a "snake"), the
earliest where it does not (a sweep from one start, a "fan"). Models are seen through 100 neurons drawn at random. The rule that keeps
documented parents of merges is left out: nothing documented is looked at here.
Dates decide, so this is no method of weights: it is never chosen by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import torch
from torch import Tensor

from lineage.detect.align import Layer
from lineage.detect.decision import Decision
from lineage.detect.methods.registry import BadSetting, settings_of
from lineage.detect.methods.to_decisions import CannotTake, as_decisions
from lineage.detect.methods.values import distances, layers_of, related_groups
from lineage.detect.model_input import Subject
from lineage.detect.options import Options

NAME = "atlas"
FEW_VALUES = 256  # distinct values in hundreds of neurons, up to which a model counts as quantized
SPREAD = 0.05  # K distances closer together than this share of the largest say nothing: a fan


def decide(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    settings = settings_of(NAME, options.settings)
    if settings["nearest"] < 1 or settings["neurons"] < 1 or not 0 <= settings["quantile"] <= 1:
        raise BadSetting(f"{NAME}: nearest and neurons are at least 1, quantile between 0 and 1")
    layers = layers_of(NAME, subjects, device)
    dates = [s.created_at for s in subjects]
    if any(date is None for date in dates):
        raise CannotTake(
            f"method {NAME} needs the date of every model, and some have none",
            "models on disk have no dates; `lineage detect` uses those of the Hub",
        )
    apart = distances(neurons(layers, settings["neurons"], settings["seed"])).cpu()
    leaves = [s.quantized or _few_values(layers, i) for i, s in enumerate(subjects)]
    parents: list[int | None] = [None] * len(subjects)
    for members in related_groups(layers):
        for child, parent in chart(members, apart, [d for d in dates if d], leaves, settings).items():
            parents[child] = parent
    return as_decisions(NAME, subjects, parents)


def neurons(layers: Sequence[Layer], count: int, seed: int) -> Tensor:
    """(m, n) float64: the values of `count` units drawn from all layers, fewer if there are fewer."""
    owner = [(place, unit) for place, layer in enumerate(layers) for unit in range(layer.values.shape[1])]
    drawn = np.random.default_rng(seed).permutation(len(owner))[:count]
    return torch.cat([layers[owner[i][0]].values[:, owner[i][1]] for i in sorted(drawn)], 1).double()


def _few_values(layers: Sequence[Layer], model: int) -> bool:
    largest = max((layer.values[model] for layer in layers), key=lambda values: values.numel())
    return largest.numel() > 4 * FEW_VALUES and torch.unique(largest).numel() <= FEW_VALUES


def chart(
    members: Sequence[int], apart: Tensor, dates: Sequence[datetime], leaves: Sequence[bool], settings: dict[str, int]
) -> dict[int, int]:
    """child -> parent within one family.

    Args:
        members: indices into the rest. apart: (m, m). leaves: quantized copies.
    """
    order = sorted(members, key=lambda i: (dates[i], i))
    full: list[int] = []  # in order of date: those that may be parents
    parent: dict[int, int] = {}
    rest: list[int] = []
    for model in order:
        same = [other for other in full if apart[model, other] == 0]
        if same:
            parent[model] = same[0]
        elif leaves[model]:
            rest.append(model)
        else:
            full.append(model)
    for model in rest:
        if full:
            parent[model] = min(full, key=lambda other: float(apart[model, other]))
    near = {
        model: sorted(full[:place], key=lambda other: float(apart[model, other]))[: settings["nearest"]]
        for place, model in enumerate(full)
    }
    follows = {model: _follows_time(model, near[model], apart, dates) for model in full}
    known = [value for model, value in follows.items() if len(near[model]) > 1]
    line = float(np.quantile(known, settings["quantile"])) if known else 0.0
    for model in full[1:]:
        gaps = [float(apart[model, other]) for other in near[model]]
        alike = (gaps[-1] - gaps[0]) < SPREAD * gaps[-1]
        snake = follows[model] > line and not alike
        parent[model] = near[model][0] if snake else min(near[model], key=lambda other: (dates[other], other))
    return parent


def _follows_time(model: int, near: Sequence[int], apart: Tensor, dates: Sequence[datetime]) -> float:
    """Correlation of the distance to the nearest with the time since them; 0 where one of the two does not vary."""
    gap = np.array([float(apart[model, other]) for other in near])
    time = np.array([(dates[model] - dates[other]).total_seconds() for other in near])
    if len(near) < 2 or np.ptp(gap) == 0 or np.ptp(time) == 0:
        return 0.0
    return float(np.corrcoef(gap, time)[0, 1])
