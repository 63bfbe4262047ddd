"""How far apart the heads of models are: of each pair over the heads that both have in one shape.

Heads are left out of a body, since they are replaced when a model is tuned for another task. But who trains a model on keeps its head where
the task stays, and what has nothing in common with a model's head was not made of it.

Dimension letters: m models, v values of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.detect.arrays import Tensor, torch
from lineage.detect.signature import FLOAT_DTYPES, Role, role_of
from lineage.detect.sketch_file import Sample, Sketch

UNRELATED = 2.0  # squared distance over mean squared length of two heads that have nothing in common


def head_distances(sketches: Sequence[Sketch]) -> Tensor:
    """(m, m) float64: mean squared distance of the heads that two models have in one shape, each over their mean squared length;
    UNRELATED where they have none."""
    models = len(sketches)
    total, heads = (torch.zeros(models, models, dtype=torch.float64) for _ in range(2))
    alike: dict[tuple[str, tuple[int, ...]], list[tuple[int, Sample]]] = {}
    for model, sketch in enumerate(sketches):
        for name, sample in sketch.samples.items():
            if sample.dtype in FLOAT_DTYPES and role_of(name, sample.dtype, sample.shape) is Role.HEAD:
                alike.setdefault((name, sample.shape), []).append((model, sample))
    for some in alike.values():
        start, stop = max(s.start for _, s in some), min(s.stop for _, s in some)
        if len(some) < 2 or stop <= start:
            continue
        rows = [torch.from_numpy(s.values()[start - s.start : stop - s.start]).double() for _, s in some]
        values = torch.stack(rows)  # (n, v)
        length = values.square().sum(1)
        scale = ((length[:, None] + length[None, :]) / 2).clamp(min=1e-300)
        apart = torch.cdist(values, values).square() / scale
        place = torch.tensor([model for model, _ in some])
        total[place[:, None], place] += apart
        heads[place[:, None], place] += 1
    return torch.where(heads > 0, total / heads.clamp(min=1), UNRELATED)
