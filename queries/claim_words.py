"""Sentences about what a card claims beside what the weights show, the same in a graph and in a scanned folder."""

from __future__ import annotations


def start_words(declared: str, parent: str | None = None, ancestor: str | None = None) -> str:
    """Why a claim about a model of another family, which had a start in common with this one, is neither confirmed nor contradicted.

    Args:
        parent: that was found; ancestor: the model, or what it comes from, that had the start in common.
    """
    which = "had a start in common, or one is a long training of the other"
    if parent is None:
        return f"{declared} is declared; they {which}"
    through = "it" if ancestor == parent else f"{ancestor}"
    return f"{declared} is declared; {parent} was found, and {through} and {declared} {which}"


def related_words(declared: str, parent: str | None) -> str:
    """Why a claim about a relative is neither confirmed nor contradicted; parent: that was found."""
    if parent is None:
        return f"{declared} is declared and of the same family; which of them came first is not certain"
    return (
        f"{declared} is declared and of the same family; {parent} was found, and the weights do not rule {declared} out"
    )


def below_words(declared: str) -> str:
    """Why a claim about a descendant is not contradicted: the order of the two is what the weights show, and they are of one family."""
    return f"{declared} is declared and of the same family; the weights show the other order, that {declared} comes from it"


def contradicted_words(declared: str, parent: str | None) -> str:
    """What the weights show instead of a declared base; parent: that was found."""
    several = " and " in declared
    if parent is None:
        return f"{declared} {'are' if several else 'is'} declared; the weights are not related to {'them' if several else 'it'}"
    return f"{declared} {'are' if several else 'is'} declared; the weights come from {parent}"


def other_values_words(declared: str, parent: str) -> str:
    """What the values show instead of those of a base that is declared to have been quantized."""
    return f"{declared} is declared as the model that was quantized; the values are those of {parent}, and {declared} has others"


def is_part(name: str, whole: str) -> bool:
    """Whether a model is a part of a repository or folder of several, such as the `unet` of a pipeline."""
    return f"/{name.lower()}".rpartition("/")[0].endswith(f"/{whole.lower()}")
