"""A card that names several bases, as those of merges do: each is judged on its own, and the verdicts are joined.

One base that the weights confirm does not speak for the others. Beside a base that is surely a stranger, or where a merge is declared and
the weights are those of a model that is no merge, the card as a whole is "cannot tell", and its reason names both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lineage.graphdb.schema import Declaration, Relation
from lineage.graphdb.schema.rows import name_key

MOST_NAMED = 3  # further bases that a reason names
OTHER_RELATION = "; its card says"  # how the clause begins
_SHOWN_BY_FILES = {Relation.ADAPTER_OF: "is an adapter of it", Relation.QUANTIZED_FROM: "is a quantized copy of it"}
_NOT = {Relation.ADAPTER_OF: {"finetune", "merge", "quantized"}, Relation.QUANTIZED_FROM: {"finetune", "adapter"}}
STATED = ("card", "tag", "mergekit_config")  # where a person or a merging tool says what a model was made of


@dataclass(frozen=True, slots=True)
class JudgedBase:
    """One claimed base that the weights do not confirm.

    Attributes:
        contradicted: not where it cannot be decided; stranger: it is contradicted, and nothing connects the two.
        reason: one sentence.
    """

    name: str
    contradicted: bool
    stranger: bool
    reason: str


def claims_by_base(claims: Iterable[Declaration]) -> dict[str, list[Declaration]]:
    """Key of each base that is named -> the claims that name it."""
    found: dict[str, list[Declaration]] = {}
    for claim in claims:
        found.setdefault(name_key(claim.base), []).append(claim)
    return found


def stated(claims: Iterable[Declaration]) -> bool:
    """Whether a base is named where models are made of several."""
    return any(claim.source in STATED for claim in claims)


def is_merge(claims: Sequence[Declaration]) -> bool:
    """Whether claims say that a model was merged from several."""
    merged = [claim for claim in claims if claim.relation == "merge" or claim.source == "mergekit_config"]
    return bool(merged) and len(claims_by_base(merged)) > 1


def says_quantized(claims: Iterable[Declaration]) -> bool:
    """Whether the card itself, and no tag that the Hub worked out, says that the values of a base were quantized."""
    return any(claim.relation == "quantized" and claim.source == "card" for claim in claims)


def other_relation(claims: Iterable[Declaration], found: Collection[str]) -> str:
    """A clause about a card whose base is right and whose `base_model_relation` is another one than files show; "" without such a card.

    Only what the format of the files shows is held against a card: what is an adapter, and what is kept in few bits. Relations that the
    Hub worked out for a tag are no claim of an author.

    Args:
        found: relations to that base that were found.
    """
    said = {claim.relation for claim in claims if claim.source == "card" and claim.relation}
    for kind, what in _SHOWN_BY_FILES.items():
        if kind in found and said and said <= _NOT[kind]:
            return f"{OTHER_RELATION} {' and '.join(sorted(said))}, and it {what}"
    return ""


def joined(reason: str, others: Sequence[JudgedBase], original: str | None) -> tuple[bool, str]:
    """Whether a card still agrees of which one base does, and the reason with what is known of the others.

    Args:
        reason: of the base that agrees. others: that do not agree.
        original: name of the one model with these weights that is no merge, where a merge is declared; None elsewhere.
    """
    merge = [] if original is None else [f"a merge is declared, and it has the weights of {original}, which is none"]
    sentences = [reason, *merge, *_sentences(others)]
    return original is None and not any(other.stranger for other in others), "; ".join(sentences)


def with_strangers(reason: str, others: Sequence[JudgedBase]) -> str:
    """The reason of a card that is not confirmed, with the bases that are surely no relatives."""
    return "; ".join([reason, *_sentences([other for other in others if other.stranger])])


def _sentences(others: Sequence[JudgedBase]) -> list[str]:
    ordered = sorted(others, key=lambda other: not other.stranger)
    more = len(ordered) - MOST_NAMED
    return [_sentence(other) for other in ordered[:MOST_NAMED]] + (
        [f"and {more} more are declared"] if more > 0 else []
    )


def _sentence(base: JudgedBase) -> str:
    if base.stranger:
        return f"{base.name} is declared; the weights are not related to it"
    return f"{base.name} is declared, and the weights show nothing of it" if base.contradicted else base.reason
