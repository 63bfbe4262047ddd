"""A network put together from blocks of nine others and then tuned: where does each block come from?

    python -m bench.papers.hybrid --out FOLDER [--quick]

As in Neural Lineage (Yu & Wang, CVPR 2024, arXiv 2406.11129), which took nine ViT-B checkpoints and found every origin, with confidences
of 93 to 37 %. Here nine small ViTs, trained on sets of bench/datasets.py from starts of their own ("strangers"), and a harder nine: three
of them with a child and a grandchild each ("relatives"). Hybrids take each block from another of the nine, some one block from a tenth
network that is no candidate; the right answer for it is "none". Then they are tuned, from a little to a lot.
Out: a table of methods, right blocks of all and the least and mean confidence, and a last line of JSON. Confidence of the published
similarities is the softmax over candidates of the similarity in units of its spread: they have none of their own.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call

from bench.datasets import Data, from_environment
from bench.papers.generations import probe
from bench.zoo.architectures import Network, VitBlock, build
from bench.zoo.tasks import Task, stream
from bench.zoo.train import Lane, Tensors, train
from lineage.detect.methods.nl_similarity import SIMILARITIES
from lineage.detect.origins import BlockOutcome, Parts, origins, parts_of

DEPTH, HEADS = 9, 4
SETS = ("mnist", "fashion", "letters", "cifar")
TUNINGS = ((30, 3e-4, 0.0), (100, 1e-3, 0.01), (200, 2e-3, 0.1))  # steps, rate of AdamW, decay
TENTH = "s9"


@dataclass(frozen=True, slots=True)
class Hybrid:
    """blocks: for each block the model it was taken from. candidates: what may be answered."""

    id: str
    kind: str
    blocks: tuple[str, ...]
    stem: str
    tuning: tuple[int, float, float]
    candidates: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    steps: int
    hybrids: int


FULL, SMALL = Size(32, 120, 6), Size(24, 80, 3)


def planned(size: Size) -> list[Hybrid]:
    """Hybrids of both kinds; every third has one block of the tenth network."""
    dice = random.Random(5)
    strangers = tuple(f"s{i}" for i in range(9))
    relatives = tuple(f"s{i}{tail}" for i in range(3) for tail in ("", "a", "aa"))
    found = []
    for kind, candidates in (("strangers", strangers), ("relatives", relatives)):
        for i in range(size.hybrids):
            blocks = dice.sample(candidates, DEPTH)
            if i % 3 == 2:
                blocks[dice.randrange(DEPTH)] = TENTH
            found.append(
                Hybrid(
                    f"{kind}-{i}",
                    kind,
                    tuple(blocks),
                    dice.choice(candidates),
                    TUNINGS[i % 3],
                    candidates,
                    dice.getrandbits(31),
                )
            )
    return found


def models(folder: Path, size: Size, data: Data) -> dict[str, Tensors]:
    """Every network by name, trained where FOLDER does not hold it already."""
    hybrids, states = planned(size), dict[str, Tensors]()
    network = build("vit", 10, {"channels": 1, "width": size.width, "depth": DEPTH, "heads": HEADS}, 0)
    steps = [
        [(f"s{i}", None) for i in range(10)],
        [(f"s{i}a", f"s{i}") for i in range(3)],
        [(f"s{i}aa", f"s{i}a") for i in range(3)],
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for wanted in steps:
        lanes: dict[str, Lane] = {}
        for name, parent in wanted:
            seed = sum(map(ord, name)) + 1000 * len(name)
            start = states[parent] if parent else _fresh(size, seed)
            lanes[name] = _lane(
                start,
                seed,
                size.steps if parent is None else size.steps // 2,
                2e-3 if parent is None else 1e-3,
                0.01,
                data,
            )
        states |= _kept(folder, network, lanes)
    lanes = {}
    for hybrid in hybrids:
        start = {n: t for n, t in states[hybrid.stem].items() if not n.startswith(("blocks.", "head."))}
        start |= {n: t for n, t in _fresh(size, hybrid.seed).items() if n.startswith("head.")}
        for i, source in enumerate(hybrid.blocks):
            start |= {n: t for n, t in states[source].items() if n.startswith(f"blocks.{i}.")}
        count, rate, decay = hybrid.tuning
        lanes[hybrid.id] = _lane(start, hybrid.seed, count, rate, decay, data)
    return states | _kept(folder, network, lanes)


def _fresh(size: Size, seed: int) -> Tensors:
    sizes: dict[str, object] = {"channels": 1, "width": size.width, "depth": DEPTH, "heads": HEADS}
    return {n: t.detach().clone() for n, t in build("vit", 10, sizes, seed).state_dict().items()}


def _lane(start: Tensors, seed: int, steps: int, rate: float, decay: float, data: Data) -> Lane:
    task = Task(SETS[seed % len(SETS)], "plain", 0, None, seed)
    batches = stream(task, data, text=False, channels=1, batch=32, steps=steps, device=torch.device("cpu"))
    return Lane(start, batches, "adamw", rate, decay, "warmup-cosine", (steps,))


def _kept(folder: Path, network: Network, lanes: Mapping[str, Lane]) -> dict[str, Tensors]:
    """What the folder holds, and the rest trained side by side."""
    paths = {name: folder / f"{name}.safetensors" for name in lanes}
    missing = [name for name in lanes if not paths[name].exists()]
    if missing:
        done = train(network, [lanes[name] for name in missing], torch.device("cpu"), len(missing) > 3)
        for name, trained in zip(missing, done, strict=True):
            save_file(trained.states[-1], paths[name])
    return {name: load_file(path) for name, path in paths.items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method says of one block. said: model, or None for "none" or "cannot tell"."""

    said: str | None
    none: bool
    confidence: float


def by_origins(hybrid: Hybrid, states: Mapping[str, Tensors]) -> list[Answer]:
    """Ours. Prefixes of the hybrid are renamed, as those of a checkpoint saved by somebody else."""
    candidates = [_parts(name, states[name]) for name in hybrid.candidates]
    found = {o.block: o for o in origins(_parts(hybrid.id, states[hybrid.id], "encoder.trunk."), candidates)}
    answers = []
    for i in range(DEPTH):
        origin = found[f"blocks.{i}"]
        right_place = origin.origin_block == f"blocks.{i}"
        answers.append(
            Answer(origin.model if right_place else None, origin.outcome is BlockOutcome.NONE, origin.probability)
        )
    return answers


@dataclass(frozen=True, slots=True)
class _Spec:
    name: str
    dtype: str
    shape: tuple[int, ...]


def _parts(name: str, tensors: Tensors, prefix: str = "") -> Parts:
    header = [_Spec(prefix + n, "F32", tuple(t.shape)) for n, t in tensors.items()]
    return parts_of(name, header, {prefix + n: t.flatten() for n, t in tensors.items()})


def by_similarity(hybrid: Hybrid, states: Mapping[str, Tensors], pictures: Tensor) -> dict[str, list[Answer]]:
    """Neural Lineage's similarities: of each block's weights, and of its output on the hybrid's own activations."""
    own = states[hybrid.id]
    block = VitBlock(own["norm.weight"].numel(), HEADS)
    x = stem(own, pictures)
    answers: dict[str, list[Answer]] = defaultdict(list)
    for i in range(DEPTH):
        after = functional_call(block, _of_block(own, i), (x,))
        values: dict[str, list[Tensor]] = defaultdict(list)
        for candidate in hybrid.candidates:
            theirs = functional_call(block, _of_block(states[candidate], i), (x,))
            for name in ("l1", "l2", "cka", "dc"):
                f, g = ((t - x)[:, 0] for t in (theirs, after))  # what the block adds to the class token
                values[f"nl-{name}, features"].append(SIMILARITIES[name](f, g))
            flat = [torch.cat([t.flatten() for t in _of_block(m, i).values()]) for m in (states[candidate], own)]
            for name in ("l1", "l2"):
                values[f"nl-{name}, weights"].append(SIMILARITIES[name](*flat))
        for method, found in values.items():
            answers[method].append(_softmax(torch.stack(found), hybrid.candidates))
        x = after
    return answers


def _of_block(tensors: Tensors, i: int) -> Tensors:
    prefix = f"blocks.{i}."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def stem(tensors: Tensors, pictures: Tensor) -> Tensor:
    """(n, 17, width): what enters the first block."""
    x = nn.functional.conv2d(pictures, tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"], 4)
    x = x.flatten(2).transpose(1, 2)
    return torch.cat([tensors["cls_token"].expand(len(x), -1, -1), x], 1) + tensors["pos_embed"]


def _softmax(similarity: Tensor, candidates: Sequence[str]) -> Answer:
    share = ((similarity - similarity.mean()) / similarity.std().clamp(min=1e-12)).softmax(0)
    return Answer(candidates[int(share.argmax())], False, float(share.max()))


def measure(hybrids: Sequence[Hybrid], states: Mapping[str, Tensors], data: Data) -> list[dict[str, Any]]:
    """A row for each method and kind of candidates."""
    answers: dict[tuple[str, str], list[tuple[str, Answer]]] = defaultdict(list)
    pictures = probe("mnist", data, 128)
    with torch.no_grad():
        for hybrid in hybrids:
            found = by_similarity(hybrid, states, pictures) | {"lineage origins": by_origins(hybrid, states)}
            for method, said in found.items():
                answers[method, hybrid.kind] += zip(hybrid.blocks, said, strict=True)
    rows = []
    for (method, kind), pairs in sorted(answers.items(), key=lambda item: (item[0][1], item[0][0])):
        known = [(truth, a) for truth, a in pairs if truth != TENTH]
        right = [a.confidence for truth, a in known if a.said == truth]
        foreign = [a for truth, a in pairs if truth == TENTH]
        rows.append(
            {
                "method": method,
                "candidates": kind,
                "blocks": len(known),
                "right": len(right),
                "wrong": sum(a.said is not None and a.said != truth for truth, a in known),
                "least_confidence": round(min(right, default=0.0), 3),
                "mean_confidence": round(sum(right) / max(1, len(right)), 3),
                "of_the_tenth": len(foreign),
                "tenth_seen": sum(a.none for a in foreign),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder that keeps the models")
    parser.add_argument("--quick", action="store_true", help="narrower networks, fewer hybrids")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data, size, began = from_environment(), SMALL if chosen.quick else FULL, time.monotonic()
    states = models(chosen.out / ("quick" if chosen.quick else "full"), size, data)
    rows = measure(planned(size), states, data)
    print(
        "| candidates | method | blocks | right | wrong | least confidence | mean confidence | of a tenth | said to be none |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for r in rows:
        print(
            f"| {r['candidates']} | {r['method']} | {r['blocks']} | {r['right']} ({r['right'] / r['blocks']:.3f}) | {r['wrong']} "
            f"| {r['least_confidence']:.2f} | {r['mean_confidence']:.2f} | {r['of_the_tenth']} | {r['tenth_seen']} |"
        )
    told = {"bench": "hybrid", "quick": chosen.quick, "data": data.source, "seconds": round(time.monotonic() - began)}
    print(json.dumps(told | {"rows": rows}))


if __name__ == "__main__":
    main()
