"""Which models another one could have been made from, as far as publication dates and model cards tell, and which ones its card names.

Merges, copies in disguise and models trained on from a merge are settled by values alone, and those lie alike in both directions: the
original of two merges is on the line through them. In: models with dates and cards. Out: what values need not be asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from lineage.detect.model_input import Subject
from lineage.detect.options import Options


def possible_sources(
    subjects: Sequence[Subject], options: Options, among: Sequence[int], alike: Mapping[str, str] | None = None
) -> np.ndarray | None:
    """
    Args:
        among: places of the k models that are asked about; alike: id of each copy -> that of the model that represents it.
    Returns:
        (k, k) bool, [child, parent]: not from one that was published later, nor from one whose card names the child, or a model whose
        card does, unless dates contradict the card. None where nothing is ruled out.
    """
    if not options.dates and not options.declared:
        return None
    alike = alike or {}
    when = _published(subjects, alike)
    names = [subjects[i].id for i in among]
    possible = np.ones((len(names), len(names)), bool)
    if options.dates:
        stamp = np.array([when[n].timestamp() if n in when else np.nan for n in names])
        possible &= ~(stamp[None, :] > stamp[:, None])  # an unknown date rules nothing out
    if options.declared:
        place = {name: i for i, name in enumerate(names)}
        above = _claimed_ancestors(subjects, alike)
        for name, parent in place.items():
            for child in above.get(name, frozenset()) & place.keys():
                if name not in above.get(child, ()) and possible[parent, place[child]]:
                    possible[place[child], parent] = False
    np.fill_diagonal(possible, True)
    return None if possible.all() else possible


def claimed_sources(
    subjects: Sequence[Subject], options: Options, among: Sequence[int], alike: Mapping[str, str] | None = None
) -> dict[int, tuple[int, ...]]:
    """Place in `among` of each model whose card names two and more of the others there -> their places."""
    if not options.declared:
        return {}
    alike = alike or {}
    place = {subjects[i].id: k for k, i in enumerate(among)}
    found = {}
    for k, i in enumerate(among):
        named = {alike.get(name, name) for name in subjects[i].declared} & place.keys() - {subjects[i].id}
        if len(named) > 1:
            found[k] = tuple(sorted(place[name] for name in named))
    return found


def _published(subjects: Sequence[Subject], alike: Mapping[str, str]) -> dict[str, datetime]:
    """When the first of a model and its copies was published."""
    when: dict[str, datetime] = {}
    for subject in subjects:
        name = alike.get(subject.id, subject.id)
        if subject.created_at is not None and (name not in when or subject.created_at < when[name]):
            when[name] = subject.created_at
    return when


def _claimed_ancestors(subjects: Sequence[Subject], alike: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Id -> the models at hand that its card names, those that theirs name, and so on."""
    known = {subject.id for subject in subjects}
    bases: dict[str, set[str]] = {}
    for subject in subjects:
        name = alike.get(subject.id, subject.id)
        named = {alike.get(base, base) for base in subject.declared & known} - {name}
        bases.setdefault(name, set()).update(named)
    found: dict[str, frozenset[str]] = {}
    for name, first in bases.items():
        seen, left = set[str](), list(first)
        while left:
            base = left.pop()
            if base not in seen:
                seen.add(base)
                left += bases.get(base, ())
        if seen:
            found[name] = frozenset(seen)
    return found
