"""What a family's decisions say beyond parents: which edges are files of one run, and who may be siblings of an unseen parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, torch
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.reasons import Reason
from lineage.detect.signals.same_run import same_run

SAME_RUN_SHOWN_FROM = 0.9  # probability from which it is shown
MAYBE_SIBLINGS = 0.2  # probability of an unseen parent from which on siblings are named


def with_runs(decisions: Sequence[Decision], layers: Sequence[Layer]) -> list[Decision]:
    """The same with `same_run` in the evidence of each asserted edge: the probability that parent and child are files of one training.

    It takes a third model in line, the parent's parent or else a child of the child; None where absent.

    Args:
        decisions: one for each model of the layers, in their order.
    """
    place = {decision.model: i for i, decision in enumerate(decisions)}
    parent = {i: place[d.parent] for i, d in enumerate(decisions) if d.parent in place}
    lines = [(parent[above], above, child) for child, above in parent.items() if above in parent]
    chance = dict(zip(lines, same_run(layers, torch.tensor(lines).reshape(-1, 3)).tolist(), strict=True))
    upwards = {line[1:]: p for line, p in chance.items()}
    downwards: dict[tuple[int, int], float] = {}
    for line, p in chance.items():
        downwards[line[:2]] = max(p, downwards.get(line[:2], 0.0))
    found = list(decisions)
    for child, above in parent.items():
        said = upwards.get((above, child), downwards.get((above, child)))
        evidence = {**found[child].evidence, "same_run": None if said is None else round(said, 3)}
        more = [Reason("same_run")] if said is not None and said >= SAME_RUN_SHOWN_FROM else []
        found[child] = replace(found[child], evidence=evidence, reason=found[child].reason.and_then(*more))
    return found


def with_siblings(decisions: Sequence[Decision], root: int, parents: Tensor, unseen: Tensor) -> list[Decision]:
    """The same, naming who may be siblings: the tree's root and those of its children that are undecided and may come from an unseen one.

    Args:
        root: of the tree; parents: (m,) int64, each model's parent in it, -1 for the root.
        unseen: (m,) the probability of such a parent of each model, see missing_parent.py.
    """
    below = (parents == root).nonzero()[:, 0].tolist()
    maybe = [i for i in below if decisions[i].answer is AnswerKind.UNDECIDED and float(unseen[i]) >= MAYBE_SIBLINGS]
    found = list(decisions)
    if not maybe or decisions[root].answer is AnswerKind.PARENT:
        return found
    group = [root, *maybe]
    names = tuple(decisions[i].model for i in sorted(group))
    for i in group:
        evidence = {**found[i].evidence, "unseen_parent": round(max(float(unseen[j]) for j in maybe), 3)}
        found[i] = replace(found[i], siblings=names, evidence=evidence)
    if found[root].answer is AnswerKind.ROOT:
        # older than the others at hand it is where they do not come from one that is not
        chance = min(found[root].probability, 1 - float(found[root].evidence["unseen_parent"]))
        found[root] = replace(found[root], probability=chance)
    return found
