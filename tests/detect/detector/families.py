"""Small families made in code, as the trained detector takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lineage.detect.align import Layer, align
from lineage.detect.detector.examples import Example, examples_of
from tests.builders import sketch_of, start, three_generations, tune, write

CPU = torch.device("cpu")


def layers_of_family(seed: int = 0) -> list[Layer]:
    """Eight models of three generations, aligned."""
    models, _ = three_generations(seed)
    return align([sketch_of(weights, name) for name, weights in models.items()], CPU)


def truth_of(seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """truth.json and sketches of eight models, a copy, and a stranger."""
    models, parents = three_generations(seed)
    models |= {"copy": models["b"], "other": start(77 + seed), "others": tune(start(77 + seed), 78 + seed)}
    pairs = [{"child": c, "parent": p, "relation": "finetune"} for c, p in (parents | {"others": "other"}).items()]
    truth = {
        "architecture": f"kind-{seed % 2}",
        "split": "tune",
        "pairs": [*pairs, {"child": "copy", "parent": "b", "relation": "copy"}],
        "roots": ["a", "other"],
        "trees": {"a": [n for n in models if not n.startswith("other")], "other": ["other", "others"]},
        "duplicates": [["b", "copy"]],
    }
    return truth, {name: sketch_of(weights, name) for name, weights in models.items()}


def examples(families: int = 4) -> list[Example]:
    return [e for seed in range(families) for e in examples_of(f"family-{seed}", *truth_of(seed), CPU)]


def write_zoo(folder: Path, families: int = 4) -> None:
    """The same on disk, without the strangers."""
    import json

    for seed in range(families):
        models, parents = three_generations(seed)
        write(folder / f"family-{seed}", models)
        pairs = [{"child": c, "parent": p, "relation": "finetune"} for c, p in parents.items()]
        truth = {"architecture": f"kind-{seed % 2}", "pairs": pairs, "roots": ["a"], "trees": {"a": list(models)}}
        (folder / f"family-{seed}" / "truth.json").write_text(json.dumps(truth))
