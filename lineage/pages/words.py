"""Values as people read them on a page: relations, probabilities, moments, and names that may hold anything."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from lineage.detect.signals.registry import SIGNALS
from lineage.graphdb.schema import SAME_FILES, SAME_FILES_WORD, Relation, chance

LONGEST_NAME = 300  # characters of a name that a page shows
RELATION_WORDS = {
    Relation.FINE_TUNED_FROM: "fine-tuned",
    Relation.QUANTIZED_FROM: "quantized",
    Relation.ADAPTER_OF: "adapter",
    Relation.MERGED_FROM: "merged",
    Relation.COPY_OF: "copy",
    Relation.POSSIBLE_PARENT: "possible parent",
    Relation.DECLARES_BASE: "declared",
    Relation.SUPERSEDED: "superseded",
}
OUTCOME_WORDS = {
    "agree": "agrees",
    "contradicts": "contradicts",
    "missing": "not declared",
    "cannot tell": "cannot tell",
    None: "nothing to compare",
}
EVIDENCE_WORDS = {  # what the kinds of evidence in `decided_by` mean; signals bring their own words
    **{signal.name: signal.phrase for signal in SIGNALS},
    "structure": "whether every part that an adapter changes exists there, with a fitting size",
    "content": "equal weights: the same bytes, or values that are the other model's values",
    "rounding": "its values are the parent's values, rounded",
    "inheritance": "what the parent learned from its own parent is still in the child",
    "relatedness": "distance to the other models of the architecture",
    "retention": "units that are equal bit for bit",
    "drift": "children of one parent move away from it in partly the same way",
    "published": "of equal files, the one on the Hub is the original",
}


def visible(text: object) -> str:
    """A name in which nothing is hidden: control, format and direction characters are shown as their code points.

    The Hub's names are harmless, but a folder or a card can hold any character. Escaping for HTML is the template's work.
    """
    shown = str(text)
    # nearly all of them, and pages hold hundreds
    if len(shown) <= LONGEST_NAME and shown.isascii() and shown.isprintable():
        return shown
    cut = shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"
    return "".join(c if _harmless(c) else f"\\u{{{ord(c):x}}}" for c in cut)


def _harmless(character: str) -> bool:
    return (character.isascii() and character.isprintable()) or unicodedata.category(character)[0] not in "CZ"


def relation_word(kind: str | None) -> str:
    """A relation in one word or two, for people."""
    try:
        return RELATION_WORDS[Relation(kind or "")]
    except ValueError:
        return SAME_FILES_WORD if kind == SAME_FILES else visible(kind or "")


def relation_phrase(kind: str | None) -> str:
    """As in "CHILD … PARENT"."""
    try:
        return Relation(kind or "").phrase
    except ValueError:
        return "has the same files as" if kind == SAME_FILES else "comes from"


def evidence_word(name: str) -> str:
    """What a kind of evidence means, or its name where it is new."""
    return EVIDENCE_WORDS.get(name, "")


def outcome_word(outcome: str | None) -> str:
    """The comparison of a card with the weights, in a word or two."""
    return OUTCOME_WORDS.get(outcome, str(outcome))


def percent(probability: float | None) -> str:
    """A probability, or a dash."""
    return "–" if probability is None else chance(probability)


def when(moment: datetime | None) -> str:
    """A moment in UTC, to the minute."""
    return "–" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def number(value: float | None, digits: int = 2) -> str:
    """A measured number, or a dash."""
    if value is None:
        return "–"
    return f"{value:,.{digits}f}" if abs(value) < 1e6 else f"{value:.2e}"


def duration(seconds: float) -> str:
    """As in "4 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def split_name(name: str) -> tuple[str, str]:
    """(organisation with its slash, the rest); of a path or a plain name the first part is empty."""
    shown = visible(name)
    head, slash, tail = shown.partition("/")
    return (head + slash, tail) if slash and head and tail else ("", shown)


def shortened(text: str, at_most: int) -> str:
    """A text of limited length, the middle left out: models of one family often differ in their last characters."""
    if len(text) <= at_most:
        return text
    tail = at_most // 2
    return text[: at_most - tail - 1] + "…" + text[-tail:]
