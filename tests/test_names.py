"""Names of classes: nouns everywhere, and one class of a name in all that ships."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.test_structure import ROOT, parsed, shipped

NOT_PARTICIPLES = {"Embed", "Feed", "Need", "Seed", "Speed", "Shed"}
IRREGULAR = {
    "Above",
    "Along",
    "Built",
    "Found",
    "Given",
    "Held",
    "Kept",
    "Known",
    "Left",
    "Made",
    "Read",
    "Said",
    "Seen",
    "Sent",
}
IRREGULAR |= {"Told", "Taken", "Done", "Heard", "Lost", "Shown", "Written"}


def classes(paths: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    return found


def test_no_two_classes_have_one_name() -> None:
    assert {name: paths for name, paths in classes(shipped()).items() if len(paths) > 1} == {}


def test_no_class_is_called_by_a_bare_participle() -> None:
    everything = [*shipped(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    words = {name.lstrip("_") for name in classes(everything)}
    one_word = {word for word in words if sum(letter.isupper() for letter in word) == 1}
    bare = {word for word in one_word if word in IRREGULAR or (word.endswith("ed") and word not in NOT_PARTICIPLES)}
    assert bare == set()
