"""Two trees of toy language models: who names the right parent of eight children each?

    python -m bench.papers.toy_llm --out FOLDER [--quick]

A GPT-2-like and a Llama-like architecture; in each two roots A and B, trained apart, and A -> {A1, A2}, A1 -> {A11, A12}, A2 -> A21,
B -> {B1, B2}, B1 -> B11: tuned in full, by a merged low-rank adapter, continued on the parent's own text, with other vocabulary rows, and
stored in bfloat16. Texts of bench/datasets.py. Every method gets all ten models of an architecture in one folder and nothing else:
every method of weights in the registry, and peers where they are installed (`pip install 'lineage[peers]'`). modeldna names no direction
and no root: its answer is the other model that it gives the highest probability, by its raw score.
Out: a table (directed parents of eight, roots given a parent, links without direction), and a last line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.datasets import ALPHABET, Data, from_environment
from bench.papers.text_models import Recipe, Tensors, fresh, more_rows, tune
from lineage.detect.methods.registry import METHODS
from lineage.detect.options import Options
from lineage.graphdb.schema import Failure
from lineage.scanning import scan_folder

EXTRA_ROWS = 8
PARENTS = {"A1": "A", "A2": "A", "A11": "A1", "A12": "A1", "A21": "A2", "B1": "B", "B2": "B", "B11": "B1"}
ROOTS = ("A", "B")
SIZES: dict[str, dict[str, object]] = {
    "gpt": {"width": 64, "depth": 4, "heads": 4, "context": 32},
    "llama": {"width": 64, "depth": 4, "heads": 4, "kv_heads": 2, "inner": 172},
}
NARROW: dict[str, dict[str, object]] = {
    "gpt": {"width": 32, "depth": 2, "heads": 4, "context": 32},
    "llama": {"width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "inner": 86},
}
CONFIGS = {  # what peers read before they look at weights
    "gpt": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
    "llama": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False},
}
PREFIXES = {"gpt": "transformer.", "llama": ""}  # as transformers saves them
NEED_A_FILE = ("np-detector", "nl-detector", "atlas")  # a trained network, or dates


@dataclass(frozen=True, slots=True)
class Step:
    """How a model is made from its parent. text: name of a text and which third of it. length: share of the usual steps."""

    text: tuple[str, int]
    kind: str = "full"
    rate: float = 1e-3
    length: float = 1.0
    half: bool = False


STEPS = {
    "A": Step(("shakespeare", 0), rate=3e-3, length=3.0),
    "B": Step(("shakespeare", 0), rate=3e-3, length=3.0),
    "A1": Step(("wiki-a", 0)),
    "A2": Step(("shakespeare", 1), kind="low rank", rate=2e-3),
    "A11": Step(("wiki-a", 0), kind="continued", rate=5e-4),
    "A12": Step(("wiki-b", 1), half=True),
    "A21": Step(("wiki-a", 2), kind="vocabulary"),
    "B1": Step(("shakespeare", 2), rate=3e-4),
    "B2": Step(("wiki-b", 0), kind="low rank", rate=2e-3, half=True),
    "B11": Step(("wiki-a", 1), rate=5e-4),
}


def write_models(folder: Path, architecture: str, sizes: Mapping[str, object], steps: int, data: Data) -> None:
    """FOLDER/<architecture>/<name>/model.safetensors and config.json; what is there already is kept."""
    states: dict[str, Tensors] = {}
    place = folder / architecture
    done = place / "done.json"
    plan = json.dumps({"sizes": dict(sizes), "steps": steps, "data": data.source, "prefix": PREFIXES[architecture]})
    if done.exists() and done.read_text() == plan:
        return
    for number, (name, step) in enumerate(STEPS.items()):
        parent = PARENTS.get(name)
        rows = len(ALPHABET)
        start = states[parent] if parent else fresh(architecture, sizes, 100 + number)[1]
        if step.kind == "vocabulary":
            rows += EXTRA_ROWS
            start = more_rows(start, rows, number)
        network = fresh(architecture, sizes, 0, rows)[0]
        tokens = data.text(step.text[0])
        third = len(tokens) // 3
        recipe = Recipe(round(steps * step.length), step.rate, number, rank=4 if step.kind == "low rank" else None)
        states[name] = tune(network, start, tokens[step.text[1] * third : (step.text[1] + 1) * third], recipe)
        if step.half:
            states[name] = {n: t.bfloat16() for n, t in states[name].items()}
        (place / name).mkdir(parents=True, exist_ok=True)
        tensors = {PREFIXES[architecture] + n: t.contiguous() for n, t in states[name].items()}
        save_file(tensors, place / name / "model.safetensors", {"format": "pt"})
        (place / name / "config.json").write_text(json.dumps(_config(architecture, sizes, rows, step.half)))
    done.write_text(plan)


def _config(architecture: str, sizes: Mapping[str, object], rows: int, half: bool) -> dict[str, object]:
    """What a Hugging Face configuration of such a model says, under the names of both architectures."""
    width, depth, heads = (sizes[k] for k in ("width", "depth", "heads"))
    told: dict[str, object] = {
        **CONFIGS[architecture],
        "vocab_size": rows,
        "torch_dtype": "bfloat16" if half else "float32",
    }
    told |= {"n_embd": width, "n_layer": depth, "n_head": heads, "n_positions": 32}
    told |= {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
    return told | {"num_key_value_heads": sizes.get("kv_heads", heads), "intermediate_size": sizes.get("inner", 4)}


def by_registry(folder: Path) -> dict[str, dict[str, str | None] | str]:
    """method -> parent of each model, or why it did not answer."""
    found: dict[str, dict[str, str | None] | str] = {}
    for method in METHODS:
        if method.needs not in ("weights", "either") or method.name in NEED_A_FILE:
            continue
        variants = [{}]
        stages = next((s for s in method.settings if s.name == "stage"), None)
        if stages and stages.choices:
            variants = [{"stage": choice} for choice in stages.choices]
        for settings in variants:
            name = " ".join([method.name, *settings.values()])
            try:
                options = Options(dates=False, declared=False, method=method.name, settings=settings)
                found[name] = {d.model: d.parent for d in scan_folder(folder, options).decisions}
            except Failure as failure:
                found[name] = failure.message
    return found


def by_modeldna(folder: Path) -> dict[str, str | None] | str:
    """The most probable other model of each, by modeldna 0.1.0's own fingerprints and calibration; or why it did not answer."""
    try:
        from modeldna.calibration import DEFAULT_CALIBRATOR
        from modeldna.compare import compare_fingerprints
        from modeldna.fingerprint.extract import extract_fingerprint
        from modeldna.io.source import open_source
    except ImportError as error:
        return f"not installed ({error.name}): pip install 'lineage[peers]'"
    prints = {name: extract_fingerprint(open_source(str(folder / name)), mode="full", model_id=name) for name in STEPS}
    best: dict[str, str | None] = {}
    for name, own in prints.items():
        scores = []
        for other, theirs in prints.items():
            if other == name:
                continue
            features = compare_fingerprints(own, theirs).features()
            if any(value is not None for value in features.values()):
                scores.append((DEFAULT_CALIBRATOR.score(features), other))
        best[name] = max(scores)[1] if scores else None
    return best


def score(found: Mapping[str, str | None]) -> dict[str, Any]:
    def links(child: str, parent: str) -> bool:
        return found.get(child) == parent or found.get(parent) == child

    return {
        "right": sum(found.get(child) == parent for child, parent in PARENTS.items()),
        "links": sum(links(child, parent) for child, parent in PARENTS.items()),
        "false_parents": sum(found.get(root) is not None for root in ROOTS),
        "misses": {child: found.get(child) for child, parent in PARENTS.items() if found.get(child) != parent},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder that keeps the models")
    parser.add_argument("--quick", action="store_true", help="half the width and depth, a third of the steps")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data, began = from_environment(), time.monotonic()
    result: dict[str, dict[str, Any]] = {}
    for architecture, sizes in (NARROW if chosen.quick else SIZES).items():
        folder = chosen.out / ("quick" if chosen.quick else "full")
        write_models(folder, architecture, sizes, 60 if chosen.quick else 180, data)
        answers = by_registry(folder / architecture) | {"modeldna 0.1.0": by_modeldna(folder / architecture)}
        for method, found in answers.items():
            result.setdefault(method, {})[architecture] = {"skipped": found} if isinstance(found, str) else score(found)
    print("| method | " + " | ".join(f"{a}: parents of 8, roots given a parent, links" for a in SIZES) + " |")
    print("| --- |" + " ---: |" * len(SIZES))
    for method, by in result.items():
        cells = [
            f"skipped: {r['skipped']}"
            if "skipped" in r
            else f"{r['right']}/8, {r['false_parents']} of 2, {r['links']}/8"
            for r in by.values()
        ]
        print(f"| {method} | " + " | ".join(cells) + " |")
    told = {"bench": "toy_llm", "quick": chosen.quick, "data": data.source, "seconds": round(time.monotonic() - began)}
    print(json.dumps(told | {"methods": result}))


if __name__ == "__main__":
    main()
