"""How far the heads of models are from those of a few of them, over the heads that two have in one shape.

Heads are left out of a body, since they are replaced when a model is tuned for another task. But who trains a model on keeps its head where
the task stays, and what has nothing in common with a model's head was not made of it. Matrices tell, the inner ones of a head beside the
rows of its classes: biases of two heads for the same classes become alike, whatever the heads began with.

Dimension letters: m models, n members, h models with a tensor, v values of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from lineage.detect.arrays import Tensor, torch
from lineage.detect.head_modules import head_module
from lineage.detect.signature import FLOAT_DTYPES, Role, role_of
from lineage.detect.sketch_file import Sample, Sketch

FEWEST_VALUES = 64  # of a bias
UNRELATED = 2.0  # squared distance over mean squared length of two heads that have nothing in common


def head_distances(sketches: Sequence[Sketch], members: Sequence[int], *, of_biases: bool = False) -> Tensor:
    """
    Args:
        of_biases: compare the biases of inner layers, which begin at zero, instead of matrices, which may be seeded alike.
    Returns:
        (m, n) float64: mean squared distance of each model from the members in the heads of which both have a matrix in one shape, each
        over their mean squared length; nan where they have none.
    """
    total, heads = (torch.zeros(len(sketches), len(members), dtype=torch.float64) for _ in range(2))
    for tensors in _by_head(sketches, _inner_bias if of_biases else _matrix).values():
        between, values = distances_over(tensors, members, len(sketches))
        total += between / values.clamp(min=1)
        heads += (values > 0).double()
    return torch.where(heads > 0, total / heads.clamp(min=1), torch.nan)


def distances_over(tensors: Iterable[dict[int, Sample]], members: Sequence[int], models: int) -> tuple[Tensor, Tensor]:
    """
    Args:
        tensors: of each matrix the models that have it in one shape, and their samples.
    Returns:
        (m, n) float64 each: squared distances of the models from the members over their mean squared lengths, each matrix as often as
        it has values, and how many values that is.
    """
    between, values = (torch.zeros(models, len(members), dtype=torch.float64) for _ in range(2))
    for some in tensors:
        _add(some, members, between, values)
    return between, values


def _by_head(sketches: Sequence[Sketch], wanted: Callable[[Sample], bool]) -> dict[str, list[dict[int, Sample]]]:
    """Path of each head -> of each of its tensors that are wanted, of one name and shape, the models that have it and their samples."""
    alike: dict[str, dict[tuple[str, tuple[int, ...]], dict[int, Sample]]] = defaultdict(lambda: defaultdict(dict))
    for model, sketch in enumerate(sketches):
        for name, sample in sketch.samples.items():
            if sample.dtype in FLOAT_DTYPES and wanted(sample):
                head = head_module(name, sample.dtype, sample.shape)
                if head is not None:
                    alike[head][name, sample.shape][model] = sample
    return {head: list(tensors.values()) for head, tensors in alike.items()}


def _matrix(sample: Sample) -> bool:
    return len(sample.shape) > 1


def _inner_bias(sample: Sample) -> bool:
    """Whether it is a bias, of an inner layer of a head, and long enough to tell."""
    long = len(sample.shape) == 1 and sample.shape[0] >= FEWEST_VALUES and sample.name.endswith("bias")
    return long and role_of(sample.name, sample.dtype, sample.shape) is not Role.HEAD


def _add(some: dict[int, Sample], members: Sequence[int], between: Tensor, values: Tensor) -> None:
    """Adds one matrix, each distance as often as it has values, to (m, n) sums of distances and of values."""
    start, stop = max(s.start for s in some.values()), min(s.stop for s in some.values())
    own = [column for column, member in enumerate(members) if member in some]
    if not own or len(some) < 2 or stop <= start:
        return
    place = {model: row for row, model in enumerate(some)}
    rows = [torch.from_numpy(s.values()[start - s.start : stop - s.start]).double() for s in some.values()]
    theirs = torch.stack(rows)  # (h, v)
    ours = theirs[torch.tensor([place[members[column]] for column in own])]
    length = [one.square().sum(1) for one in (theirs, ours)]
    scale = ((length[0][:, None] + length[1][None, :]) / 2).clamp(min=1e-300)
    at = torch.tensor(list(some))[:, None], torch.tensor(own)
    between[at] += (stop - start) * torch.cdist(theirs, ours).square() / scale
    values[at] += stop - start
