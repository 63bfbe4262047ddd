"""The answers of this version on fixed families: `python -m tests.detect.kept_answers` keeps their digest beside the version."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lineage.detect.align import pick_device
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import METHOD_VERSION, decide
from tests.builders import sketch_of, start, three_generations


def answers() -> list[Any]:
    """Model, answer, parent, relation and probability to two decimals, on families of builders.py."""
    found: list[Any] = []
    for seed in (0, 1):
        models, _ = three_generations(seed)
        models |= {"stranger": start(4242), "again": models["c"]}
        subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
        for detector in (True, False):
            decided = decide(subjects, Options(detector=detector), pick_device("cpu"))
            found += [[d.model, str(d.answer), d.parent, str(d.relation), round(d.probability, 2)] for d in decided]
    return found


def main() -> None:
    from tests.detect.test_method_version import ANSWERS

    digest = hashlib.sha256(json.dumps(answers(), sort_keys=True).encode()).hexdigest()
    ANSWERS.write_text(json.dumps({"version": METHOD_VERSION, "sha256": digest}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
