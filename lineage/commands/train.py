"""`lineage train` and `lineage zoo`: the detectors, made again from families of known lineage."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.options import checked_device
from lineage.graphdb.schema import Failure

if TYPE_CHECKING:
    import torch

    from lineage.detect.detector.examples import Example
    from lineage.detect.methods.registry import MethodInputs
    from lineage.detect.sketch_store import Sketch

ZOO = click.argument("zoo", type=click.Path(path_type=Path))
OUT = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File for the trained network."
)
SPLIT = click.option("--split", metavar="NAME", help="Of families that name a half (tune, report), only this one.")
DEVICE = click.option(
    "--device", metavar="NAME", help="Where to train: cpu, cuda, ... [default: cuda where there is one]."
)
SEED = click.option("--seed", default=0, show_default=True, help="The same seed gives the same network.")
JSON = click.option("--json", "json_wanted", is_flag=True, help="Print what came out as JSON.")

SOURCE = Path(__file__).resolve().parents[2]  # in a clone, where the benches are
TRAINING_VALUES = 1 << 20  # models up to a million values are learned from whole


class NoZoo(Failure):
    """A folder without families of known lineage, or without enough of them."""


class NeedsSource(Failure):
    """Something that is part of the source tree and not of the installed package."""


@click.group()
def train() -> None:
    """Train a detector on a folder of families: FAMILY/*.safetensors and FAMILY/truth.json, as `lineage zoo build` makes them.

    \b
    lineage train detector ./zoo --out detector.safetensors
    lineage train np-detector ./zoo --out np.safetensors
    """


@train.command("detector")
@ZOO
@OUT
@SPLIT
@click.option("--without", multiple=True, metavar="ARCHITECTURE", help="Leave these families out; may be repeated.")
@click.option("--steps", type=click.IntRange(min=10), help="Steps of each member of the network [default: 1000].")
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep checkpoints here, and go on from those that are there.",
)
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the losses (.png, .svg, .pdf).",
)
@SEED
@DEVICE
@JSON
def train_detector(
    zoo: Path,
    out: Path,
    split: str | None,
    without: tuple[str, ...],
    steps: int | None,
    checkpoints: Path | None,
    picture: Path | None,
    seed: int,
    device: str | None,
    json_wanted: bool,
) -> None:
    """The detector that decides beside the learning-free evidence. Twenty minutes of one core; less where there is CUDA.

    \b
    lineage train detector ./zoo --out detector.safetensors --split tune --plot losses.png
    """
    from lineage.detect.align import pick_device
    from lineage.detect.detector.scoring import save
    from lineage.detect.detector.training import Recipe, TrainingRun, one_thread
    from lineage.detect.detector.training import train as fit

    on = pick_device(checked_device(device))
    recipe = Recipe(seed=seed) if steps is None else Recipe(seed=seed, direction_steps=steps)
    with shown() as report, one_thread():
        examples = [e for e in read_examples(zoo, split, on, report) if e.architecture not in without]
        if len({e.family for e in examples}) < 2:
            raise NoZoo(f"{zoo} holds fewer than two families to train on", "build some: lineage zoo build --out ZOO")
        run = TrainingRun(on, checkpoints, report)
        trained = fit(examples, recipe, run)
    families = sorted({e.family for e in examples})
    result: dict[str, Any] = {"families": len(families), "models": sum(len(e.models) for e in examples), "seed": seed}
    result |= {"directed_left_out": directed(examples, trained.came_first), "file": str(out)}
    save(trained.direction, out, {"families": " ".join(families), "recipe": repr(recipe)})
    if picture:
        draw(run.losses, picture)
    tell(result, json_wanted)


@train.command("np-detector")
@ZOO
@OUT
@SPLIT
@click.option("--epochs", default=100, show_default=True, type=click.IntRange(min=1), help="Passes over drawn samples.")
@click.option(
    "--softmax",
    default="twice",
    show_default=True,
    type=click.Choice(("twice", "once")),
    help="How often the loss takes it: twice as in the released code, once as in the paper.",
)
@SEED
@DEVICE
@JSON
def train_np_detector(
    zoo: Path,
    out: Path,
    split: str | None,
    epochs: int,
    softmax: str,
    seed: int,
    device: str | None,
    json_wanted: bool,
) -> None:
    """Neural Phylogeny's detector, for --method np-detector.

    \b
    lineage train np-detector ./zoo --out np.safetensors
    """
    from lineage.detect.align import pick_device
    from lineage.detect.methods.np_detector import FamilyCrops, PhylogenyPlan, save
    from lineage.detect.methods.np_detector import train as fit
    from lineage.detect.model_input import Subject

    plan, families = PhylogenyPlan(epochs=epochs, seed=seed, softmax_twice=softmax == "twice"), []
    for _, truth, sketches in folders(zoo, split):
        parent = {p["child"]: p["parent"] for p in truth["pairs"]}
        by_signature: dict[str, list[str]] = {}
        for name, sketch in sketches.items():
            by_signature.setdefault(sketch.signature, []).append(name)
        for names in by_signature.values():
            place = {name: i for i, name in enumerate(names)}
            parents = tuple(place.get(parent.get(n, n), i) for i, n in enumerate(names))
            families.append(FamilyCrops(tuple(Subject(n, sketches[n]) for n in names), parents))
    save(fit(families, plan, pick_device(checked_device(device))), plan, out)
    tell({"families": len(families), "models": sum(len(f.subjects) for f in families), "file": str(out)}, json_wanted)


@train.command("nl-detector")
@ZOO
@OUT
@click.option("--forward", metavar="MODULE:FUNCTION", help="Your function that runs a model, to train on features too.")
@click.option("--batch", type=click.Path(path_type=Path), metavar="FILE", help="Inputs for it: a .safetensors file.")
@click.option("--layer", default="", metavar="NAME", help="The features to show [default: the third that it gives].")
@click.option("--epochs", default=100, show_default=True, type=click.IntRange(min=1), help="Passes over all children.")
@click.option("--tensor", default="", metavar="NAME", help="The weight to show [default: the middle one of the body].")
@SEED
@DEVICE
@JSON
def train_nl_detector(
    zoo: Path,
    out: Path,
    forward: str | None,
    batch: Path | None,
    layer: str,
    epochs: int,
    tensor: str,
    seed: int,
    device: str | None,
    json_wanted: bool,
) -> None:
    """Neural Lineage's detector, for --method nl-detector: on weights, and on features where --forward and --batch are given.

    \b
    lineage train nl-detector ./zoo --out nl.safetensors
    lineage train nl-detector ./zoo --out nl.safetensors --forward mine:layers --batch inputs.safetensors
    """
    from lineage.commands.methods import given_for
    from lineage.detect.align import pick_device
    from lineage.detect.methods.nl_detector import train as fit

    given_for(zoo, forward, batch)  # says at once what is wrong with them
    on = pick_device(checked_device(device))

    def given(family: Path) -> MethodInputs:
        found = given_for(family, forward, batch)
        assert found is not None
        return found

    result = fit(zoo, out, given if forward else None, tensor, layer, epochs, seed, on)
    tell({**result, "file": str(out)}, json_wanted)


@click.group()
def zoo() -> None:
    """The families of small models that the detectors are trained on. Works from a clone of the source.

    \b
    lineage zoo build --out ./zoo
    """


@zoo.command("build")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder that gets one folder a family.",
)
@click.option(
    "--models",
    type=click.IntRange(min=1),
    help="Stop after the families that hold this number of models [default: all].",
)
@click.option("--only", multiple=True, metavar="ARCHITECTURE", help="Only this architecture; may be repeated.")
@click.option("--split", type=click.Choice(("tune", "report")), help="Only this half of the configurations.")
@click.option("--jobs", type=click.IntRange(min=1), help="Families built at the same time [default: one a core].")
@DEVICE
@JSON
def build_zoo(
    out: Path,
    models: int | None,
    only: tuple[str, ...],
    split: str | None,
    jobs: int | None,
    device: str | None,
    json_wanted: bool,
) -> None:
    """Train the families, from seeds: the same command makes the same models. What is there already is not built again.

    \b
    LINEAGE_DATASETS=datasets lineage zoo build --out ./zoo
    """
    if not (SOURCE / "bench" / "zoo" / "__main__.py").is_file():
        raise NeedsSource("the zoo is built from the source tree, not from the installed package", "run it in a clone")
    given = {"--models": models, "--split": split, "--jobs": jobs, "--device": device}
    arguments = [
        "--out",
        str(out.absolute()),
        *(word for name, value in given.items() if value is not None for word in (name, str(value))),
        *(word for name in only for word in ("--only", name)),
    ]
    done = subprocess.run([sys.executable, "-m", "bench.zoo", *arguments], cwd=SOURCE, stdout=2, check=False)
    if done.returncode:
        raise click.exceptions.Exit(done.returncode)
    tell({"families": len(list(out.glob("*/truth.json"))), "folder": str(out)}, json_wanted)


def folders(root: Path, split: str | None) -> Iterator[tuple[str, dict[str, Any], dict[str, Sketch]]]:
    """Name, truth and sketches of every family under a folder; models that cannot be read are left out.

    Raises:
        NoZoo: no family there.
    """
    from lineage.crawler.folder import one_local_model
    from lineage.crawler.open_model import locate_local
    from lineage.reading import read

    found = False
    for path in sorted(root.glob("*/truth.json")):
        try:
            truth = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise NoZoo(f"{path} is not JSON: {error}", "build the family again") from None
        if split and truth.get("split", split) != split:
            continue
        found, sketches = True, {}
        for file in sorted(path.parent.glob("*.safetensors")):
            try:
                sketches[file.stem] = read(locate_local(one_local_model(file)), TRAINING_VALUES).sketch
            except Failure:
                continue
        yield path.parent.name, truth, sketches
    if not found:
        raise NoZoo(
            f"no family under {root}",
            "each is a folder of .safetensors files and a truth.json; lineage zoo build makes some",
        )


def read_examples(
    root: Path, split: str | None, device: torch.device, report: Callable[[str, int, int], None]
) -> list[Example]:
    """Examples of every family under a folder."""
    from lineage.detect.detector.examples import examples_of

    examples, count = [], len(list(root.glob("*/truth.json")))
    for number, (name, truth, sketches) in enumerate(folders(root, split), start=1):
        examples += examples_of(name, truth, sketches, device)
        report("reading", number, count)
    return examples


def directed(examples: list[Example], came_first: list[torch.Tensor]) -> float:
    """Share of true pairs whose direction a network says rightly that never saw their architecture."""
    right = [
        float(odds[c, p]) > 0
        for e, odds in zip(examples, came_first, strict=True)
        for c, p in enumerate(e.parent.tolist())
        if p >= 0
    ]
    return round(sum(right) / max(1, len(right)), 4)


@contextmanager
def shown() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage on a terminal, a line for each elsewhere; gives the function to call with (stage, step, steps)."""
    if not sys.stderr.isatty():
        began = time.monotonic()

        def line(stage: str, step: int, steps: int) -> None:
            if step == steps:
                click.echo(f"{stage}: {steps}, {time.monotonic() - began:.0f} s", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def move(stage: str, step: int, steps: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=steps)
            bar.update(tasks[stage], completed=step)

        yield move


def draw(losses: dict[str, list[float]], picture: Path) -> None:
    """Loss against steps, each as a running mean, a panel for each network: those that ship in colour, those of the folds in grey."""
    from matplotlib.figure import Figure

    kinds = sorted({stage.partition(",")[0] for stage in losses}, reverse=True)
    figure = Figure(figsize=(5 * len(kinds), 4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        for stage, curve in losses.items():
            if stage.partition(",")[0] != kind:
                continue
            width = max(1, len(curve) // 30)
            mean = [sum(curve[max(0, i - width) : i + 1]) / (i + 1 - max(0, i - width)) for i in range(len(curve))]
            if "fold" in stage:
                axes.plot(mean, color="0.8", linewidth=0.8, zorder=1)
            else:
                axes.plot(mean, label=stage, zorder=2)
        axes.set_xlabel("step")
        axes.set_ylabel("loss (running mean)")
        axes.set_title(f"{kind}; folds in grey")
        axes.legend(fontsize=7)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


def tell(found: dict[str, Any], json_wanted: bool) -> None:
    click.echo(
        json.dumps(found)
        if json_wanted
        else "\n".join(f"{key.replace('_', ' ')}: {value}" for key, value in found.items())
    )
