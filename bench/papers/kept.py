"""Answers of published methods about models that did not change, kept beside the models. Ours is never kept: it is what changes.

In: a folder of bench/papers/trained.py (or any that has truth.json). Out: FOLDER/answers.json, thrown away when the plan of the models or
the source of a method, or of what methods read values with, is another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from lineage.detect.methods.registry import PLAIN

SOURCE = Path(__file__).parents[2]
READ_WITH = ("align", "clustering", "gram", "signature", "sketch", "sketch_store", "signals/relatedness")  # in detect/
Parents = dict[str, str | None]


class KeptAnswers:
    """One folder's answers. `parents` may be called with the same words any number of times; `write` makes them last."""

    def __init__(self, folder: Path):
        self.path = folder / "answers.json"
        self.fingerprint = _fingerprint(folder)
        self.found: dict[str, Parents] = {}
        self.new = 0
        if self.path.exists():
            kept = json.loads(self.path.read_text())
            if kept["fingerprint"] == self.fingerprint:
                self.found = kept["found"]

    def parents(self, method: str, asked: Mapping[str, object], work: Callable[[], Parents]) -> Parents:
        """What the method said when it was asked the same, or what `work` gives. asked: models and settings, anything that JSON takes."""
        if method.startswith(PLAIN):
            return work()
        key = hashlib.sha256(json.dumps([method, asked], sort_keys=True).encode()).hexdigest()[:24]
        if key not in self.found:
            self.found[key] = work()
            self.new += 1
        return self.found[key]

    def write(self) -> None:
        if self.new:
            self.path.write_text(json.dumps({"fingerprint": self.fingerprint, "found": self.found}))


def _fingerprint(folder: Path) -> str:
    detect = SOURCE / "detect"
    files = [*sorted((detect / "methods").glob("*.py")), *(detect / f"{name}.py" for name in READ_WITH)]
    files += [path for name in ("plan.txt", "truth.json") if (path := folder / name).exists()]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]
