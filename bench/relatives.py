"""Do relatives meet whatever lies between them: task heads, wrappers, files, vocabularies, depth, names, experts, class counts, channels?

Families of relatives_text.py, relatives_images.py, relatives_parts.py and relatives_wholes.py: real trainings of small networks, each
child stored by the library that people publish with (or with the code of the usual converter). Each family is scanned alone, and all of
them together.
Counted for each kind: the true parent asserted, linked (among the candidates), another model asserted, the layer map; and links between
families, which all are false.

    python -m bench.relatives --out FOLDER [--families bert,llama] [--shift 1000] [--results]     # makes what is missing, scans, prints
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from bench.linked import LinkCounts
from bench.relatives_changes import images, mamba, mistral, neox, open_clip, qwen, roberta, t5
from bench.relatives_images import convnets, detectors, unet, vit
from bench.relatives_making import Making, Relative
from bench.relatives_parts import audio, clip, multimodal, taggers
from bench.relatives_text import bert, encoder_decoder, gpt2, llama
from bench.relatives_wholes import depths_and_names, pipeline, speech, vocoders
from bench.results_section import put_section
from lineage.detect.decision import Decision
from lineage.detect.options import Options
from lineage.scanning import scan_folder

FAMILIES = (
    *(bert, gpt2, llama, clip, vit, convnets, unet, taggers, detectors, encoder_decoder, audio, multimodal),
    *(speech, pipeline, depths_and_names, vocoders),
    *(qwen, neox, roberta, mistral, images, open_clip, t5, mamba),
)
HEADING = "## Relatives of any head, wrapper, depth, names and file"
_SUFFIX = re.compile(r"\.(ckpt|pt|pth|bin|onnx)$")


@dataclass(slots=True)
class Count(LinkCounts):
    """Of one kind. maps: layer maps; maps_right: right ones."""

    maps: int = 0
    maps_right: int = 0


def make(out: Path, wanted: Sequence[str], shift: int) -> dict[str, list[Relative]]:
    """Trains the families that are not there yet; what is true of each."""
    truth = {}
    for family in FAMILIES:
        name = family.__name__
        if wanted and name not in wanted:
            continue
        kept = out / f"{name}.json"
        if not kept.exists():
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).mkdir(parents=True)
            began = time.monotonic()
            made = [astuple(relative) for relative in family(Making(out / name, shift))]
            kept.write_text(json.dumps(made))
            print(f"{name}: {len(made)} models trained in {time.monotonic() - began:.0f} s", flush=True)
        truth[name] = [Relative(*entry) for entry in json.loads(kept.read_text())]
    return truth


def compare(models: Iterable[Relative], said: dict[str, Decision], counts: dict[str, Count]) -> None:
    for model in models:
        decision = said.get(model.name) or said.get(_SUFFIX.sub("", model.name))
        count = counts[model.kind]
        if decision is None:
            count.unread(model.name)
            continue
        if model.parent is None:
            count.children += 1
            count.right += decision.parent is None
            count.wrong += decision.parent is not None
            continue
        count.add(decision, model.parent, model.name)
        if model.layers:
            count.maps += 1
            count.maps_right += decision.evidence.get("layers") == model.layers


def between(out: Path, truth: dict[str, list[Relative]]) -> tuple[int, int, float]:
    """Models of all families scanned together: their number, links between families, seconds."""
    began = time.monotonic()
    decisions = scan_folder(out, Options()).decisions
    family = {d.model: d.model.split("/")[0] for d in decisions}
    false = [(d.model, other) for d in decisions for other in d.named if family.get(other) != family[d.model]]
    for child, parent in false:
        print(f"between families: {child} {parent}")
    return len(decisions), len(false), time.monotonic() - began


def table(counts: dict[str, Count], models: int, false: int, seconds: float) -> list[str]:
    rows = [
        "| what lies between | children | parent asserted | linked | another asserted | layer maps right |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    total = Count()
    for kind, c in sorted(counts.items(), key=lambda item: item[0]):
        if kind == "base":
            continue
        for name in ("children", "right", "linked", "wrong", "maps", "maps_right"):
            setattr(total, name, getattr(total, name) + getattr(c, name))
        rows.append(_row(kind, c))
    rows.append(_row("all", total))
    base = counts["base"]
    together = f"All {models} scanned together in {seconds:.0f} s: {false} links between families."
    rows += ["", f"Of {base.children} bases {base.wrong} got a parent. {together}"]
    return rows


def _row(kind: str, c: Count) -> str:
    share = f"{c.right / max(1, c.children):.2f}"
    maps = f"{c.maps_right} of {c.maps}" if c.maps else ""
    return f"| {kind} | {c.children} | {c.right} ({share}) | {c.linked} | {c.wrong} | {maps} |"


_ABOUT = """`python -m bench.relatives --out FOLDER --results`: small networks that were really trained, each child tuned on from the base
and stored by transformers, timm, diffusers or torch, or by a converter's code; weights alone, threshold 0.8. Nothing is given: all models
of a family lie in one folder. Kinds were added while the code was written, so that none of them is unseen."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the models are, or will be")
    parser.add_argument("--families", default="", help="some of them, separated by commas")
    parser.add_argument("--shift", type=int, default=0, help="added to every seed: families that nobody has seen")
    parser.add_argument("--results", action="store_true", help="write the table into RESULTS.md")
    given = parser.parse_args()
    truth = make(given.out, [name for name in given.families.split(",") if name], given.shift)
    counts: dict[str, Count] = defaultdict(Count)
    for name, models in truth.items():
        said = {d.model: d for d in scan_folder(given.out / name, Options()).decisions}
        compare(models, said, counts)
    for kind, count in counts.items():
        for model in count.missed:
            print(f"missed: {model} ({kind})")
    models, false, seconds = between(given.out, truth)
    rows = table(counts, models, false, seconds)
    print("\n".join(rows))
    if given.results:
        put_section(HEADING, _ABOUT, rows)
    print(
        json.dumps(
            {kind: [c.children, c.right, c.linked, c.wrong] for kind, c in counts.items()} | {"between_families": false}
        )
    )


if __name__ == "__main__":
    main()
