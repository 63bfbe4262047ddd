"""Which of two models in line do the others come from: seen from where they were trained from, none goes the way opposite to another one.

A model h that was trained from p went a step h - p, and trainings of p go on along it, or at right angles to it. Were h the earlier one, p
would have gone the step back, opposite to all of those. So, of the models that both p and h may be ancestors of, the least cosine with the
step is asked for at either end. Of 64 parents and children within three hundredths of their length in fourteen families it tells 13 right,
4 wrong, and nothing of the others (bench/NOTES.md). Compare signals/opposition.py, which asks the same about a family's root.

Dimension letters: m models, k neighbours of each, n pairs.
"""

from __future__ import annotations

from lineage.detect.arrays import Tensor, torch

LOG_ODDS = 1.5
OPPOSITE, NOT_OPPOSITE = -0.2, -0.1  # least cosine at the end that the others do not come from, and at the other one


def opposed_ends(distance: Tensor, neighbours: Tensor, pairs: Tensor, may_come_from: Tensor) -> Tensor:
    """
    Args:
        distance: (m, m) squared; neighbours: (m, k) int64.
        pairs: (m, k) bool, models and neighbours that are asked about; may_come_from: (m, k) bool.
    Returns:
        (n,) float64 of those asked about, row by row: log-odds that the others were trained from the neighbour and not from the model.
    """
    model, place = pairs.nonzero().unbind(1)
    near = neighbours[model, place]
    if not len(model):
        return torch.zeros(0, dtype=torch.float64)
    below = torch.zeros(distance.shape, dtype=torch.bool).scatter_(1, neighbours, may_come_from)
    others = below[:, near].T & below[:, model].T  # (n, m)
    step = distance[model, near][:, None]
    ends = []
    for here, there in ((near, model), (model, near)):
        away = distance[here]  # (n, m)
        cosine = (away + step - distance[there]) / (2 * (step * away).clamp(min=1e-300).sqrt())
        ends.append(torch.where(others, cosine, 1.0).amin(1))
    of_near, of_model = ends
    first = (of_model < OPPOSITE) & (of_near > NOT_OPPOSITE)
    second = (of_near < OPPOSITE) & (of_model > NOT_OPPOSITE)
    return LOG_ODDS * (first.double() - second.double())
