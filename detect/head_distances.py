"""How far the heads of models are from those of a few of them, over the heads that two have in one shape.

Heads are left out of a body, since they are replaced when a model is tuned for another task. But who trains a model on keeps its head where
the task stays, and what has nothing in common with a model's head was not made of it.

Dimension letters: m models, n members, h models with a head, v values of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.arrays import Tensor, torch
from lineage.detect.signature import FLOAT_DTYPES, Role, role_of
from lineage.detect.sketch_file import Sample, Sketch

UNRELATED = 2.0  # squared distance over mean squared length of two heads that have nothing in common


def head_distances(sketches: Sequence[Sketch], members: Sequence[int]) -> Tensor:
    """(m, n) float64: mean squared distance of each model from the members in the heads that both have in one shape, each over their mean
    squared length; UNRELATED where they have none."""
    total, heads = (torch.zeros(len(sketches), len(members), dtype=torch.float64) for _ in range(2))
    alike: dict[tuple[str, tuple[int, ...]], dict[int, Sample]] = {}
    for model, sketch in enumerate(sketches):
        for name, sample in sketch.samples.items():
            if sample.dtype in FLOAT_DTYPES and role_of(name, sample.dtype, sample.shape) is Role.HEAD:
                alike.setdefault((name, sample.shape), {})[model] = sample
    for some in alike.values():
        start, stop = max(s.start for s in some.values()), min(s.stop for s in some.values())
        own = [column for column, member in enumerate(members) if member in some]
        if not own or len(some) < 2 or stop <= start:
            continue
        place = {model: row for row, model in enumerate(some)}
        rows = [torch.from_numpy(s.values()[start - s.start : stop - s.start]).double() for s in some.values()]
        values = torch.stack(rows)  # (h, v)
        ours = values[torch.tensor([place[members[column]] for column in own])]
        length = [one.square().sum(1) for one in (values, ours)]
        scale = ((length[0][:, None] + length[1][None, :]) / 2).clamp(min=1e-300)
        at = torch.tensor(list(some))[:, None], torch.tensor(own)
        total[at] += torch.cdist(values, ours).square() / scale
        heads[at] += 1
    return torch.where(heads > 0, total / heads.clamp(min=1), UNRELATED)
