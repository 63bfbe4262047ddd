"""A model of a tree -> what it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Name = TypeVar("Name")


def line_of_descent(model: Name, parents: Mapping[Name, Name]) -> list[Name]:
    """Ancestors, nearest first. parents: child -> parent; one that comes round to itself ends there."""
    found: list[Name] = []
    while (above := parents.get(model)) is not None and above not in found:
        found.append(above)
        model = above
    return found
