"""What all groups say of each model, once they have heard each other: originals of equal parts, edges that another part denies, and
sentences that name the part. Every road ends here before the answers about one model are combined (combine_decisions.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from lineage.detect.decision import Decision
from lineage.detect.denied_parts import without_denied
from lineage.detect.equal_parts import MemberOfGroup, by_model, with_originals
from lineage.detect.part_reasons import naming_parts

M = TypeVar("M", bound=MemberOfGroup)


def together(said: Sequence[Sequence[tuple[M, Decision]]]) -> dict[str, list[tuple[M, Decision]]]:
    """Id of each model -> what its groups say of it. said: what each group says of its members."""
    return by_model(naming_parts(without_denied(with_originals(said))))
