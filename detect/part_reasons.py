"""Sentences about equal bodies, of models that are decided about part by part: they say which part is equal.

The encoders of two models may be equal bit for bit and their decoders not; a model that holds only an encoder is compared with both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from lineage.detect.decision import Decision
from lineage.detect.equal_parts import MemberOfGroup
from lineage.detect.groups import model_of
from lineage.detect.reasons import Reason

OF_BODIES = ("equal_body", "equal_bodies", "equals_of_parent")  # keys of reasons that speak of whole bodies

M = TypeVar("M", bound=MemberOfGroup)


def naming_parts(said: Sequence[Sequence[tuple[M, Decision]]]) -> list[list[tuple[M, Decision]]]:
    """The decisions of all groups, in the same order.

    Args:
        said: what each group says of its members.
    """
    several = {m for m, count in Counter(member.model for pairs in said for member, _ in pairs).items() if count > 1}
    if not several:
        return [list(pairs) for pairs in said]
    found = []
    for pairs in said:
        parts = {
            member.model: " and ".join(filter(None, member.parts)) for member, _ in pairs if member.model in several
        }
        found.append([(m, replace(d, reason=_of_part(d.reason, m.model, parts))) for m, d in pairs])
    return found


def _of_part(reason: Reason, model: str, parts: Mapping[str, str]) -> Reason:
    """A reason whose clauses about bodies name the part: that of the model, or of the first one that they name and that has others too."""
    then = tuple(_of_part(clause, model, parts) for clause in reason.then)
    reasons = {key: _of_part(inner, model, parts) for key, inner in reason.reasons.items()}
    values = reason.values
    if reason.key in OF_BODIES:
        names = [name for some in reason.models.values() for name in ([some] if isinstance(some, str) else some)]
        part = next((parts[one] for one in (model, *map(model_of, names)) if parts.get(one)), "")
        values = {**values, "part": part} if part else values
    return Reason(reason.key, values, reason.models, reasons, then)
