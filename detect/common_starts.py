"""Models of different families that are related and yet no near relatives: they had a start in common, or one is a long training of the
other. The decision about the root of a family says so, since a card that names such a model may be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lineage.detect.arrays import Tensor
from lineage.detect.clustering import RELATED
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.reasons import Reason

KEY = "common_start"
MOST_NAMED = 16  # other families, of each the nearest model


def common_starts(ids: Sequence[str], families: Sequence[Sequence[int]], related: Tensor) -> dict[str, Reason]:
    """
    Args:
        ids: of m models; families: places of their members, each model in one; related: (m, m) excess cosine, on the CPU.
    Returns:
        Id -> a clause that names the nearest model of another family and, where there are several families, the nearest of each; of all
        members of families of which one member is related to a model of another.
    """
    if len(families) < 2:
        return {}
    family_of = {i: number for number, members in enumerate(families) for i in members}
    found: dict[str, Reason] = {}
    for members in families:
        outside = related[list(members)]  # (members, m), a copy
        outside[:, list(members)] = float("-inf")
        most = outside.amax(0)  # (m,)
        near = sorted((most >= RELATED).nonzero().flatten().tolist(), key=lambda i: -float(most[i]))
        first: dict[int, int] = {}
        for i in near:
            first.setdefault(family_of[i], i)
        named = list(first.values())[:MOST_NAMED]
        for place, member in enumerate(members if named else ()):
            own = outside[place]  # (m,)
            nearest = max(near, key=lambda i: float(own[i]))
            several = {"related": tuple(ids[i] for i in named)} if set(named) != {nearest} else {}
            found[ids[member]] = Reason(KEY, {"cosine": float(own[nearest])}, {"nearest": ids[nearest], **several})
    return found


def with_common_starts(
    said: Sequence[Decision], starts: Mapping[str, Reason], oldest: str | None = None
) -> list[Decision]:
    """The decisions about a family, where roots say with which other models they had a start in common.

    Args:
        starts: of `common_starts`; oldest: the most probable root, which says it where it is undecided too.
    """
    return [
        replace(one, reason=one.reason.and_then(starts[one.model]))
        if one.model in starts and (one.answer is AnswerKind.ROOT or (one.model == oldest and one.parent is None))
        else one
        for one in said
    ]


def starts_in(decision: Decision) -> tuple[Reason, ...]:
    """What a decision says of models that had a start in common with this one."""
    return tuple(clause for clause in decision.reason.then if clause.key == KEY)


def models_of(clause: Reason) -> tuple[str, ...]:
    """The models with which a start was in common, the nearest first."""
    return tuple(m for named in clause.models.values() for m in ([named] if isinstance(named, str) else named))
