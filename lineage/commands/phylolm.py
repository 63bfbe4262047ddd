"""`lineage phylolm`: answers of language models -> how related they are, as a tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.graphdb.schema import NoSuchModel, counted, printable

if TYPE_CHECKING:
    from lineage.detect.methods.phylolm import Outputs, PhyloResult

GENES = 128
SAMPLES = 32


@click.command()
@click.argument("outputs", type=click.Path(path_type=Path), required=False)
@click.option("--newick", "newick_wanted", is_flag=True, help="Print the tree in Newick's notation, nothing else.")
@click.option(
    "--characters", type=click.IntRange(0), default=4, show_default=True, help="Of an answer that count; 0: all."
)
@click.option(
    "--models", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Folder of models to ask instead."
)
@click.option("--generate", metavar="MODULE:FUNCTION", help="Your function that lets a model answer prompts.")
@click.option("--prompts", type=click.Path(path_type=Path), metavar="FILE", help="A prompt a line, or a JSON list.")
@click.option("--samples", type=click.IntRange(1), default=SAMPLES, show_default=True, help="Answers to each prompt.")
@click.option("--seed", type=int, default=0, show_default=True, help="Passed to the function.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="FILE", help="Write the answers there, to use again.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def phylolm(
    outputs: Path | None,
    newick_wanted: bool,
    characters: int,
    folder: Path | None,
    generate: str | None,
    prompts: Path | None,
    samples: int,
    seed: int,
    keep: Path | None,
    json_wanted: bool,
) -> None:
    """A tree of language models from what they answer to the same prompts, no weights needed. It has no direction.

    OUTPUTS is a JSON file {model: {prompt: [answer, ...]}}. Or let models answer here: --models, --generate and --prompts; the function is
    called as function(tensors, prompts, samples, seed) and gives a list of texts for each prompt.

    \b
    lineage phylolm answers.json
    lineage phylolm answers.json --newick > tree.nwk
    lineage phylolm --models ./checkpoints --generate mine:answer --prompts prompts.txt --keep answers.json
    """
    from lineage.detect.methods.phylolm import compare, drawn, neighbour_joining, newick, outputs_of, read_outputs

    said: Outputs
    if outputs is not None and folder is None:
        said = read_outputs(outputs, characters)
    elif outputs is None and folder is not None and generate and prompts:
        answers = _ask(folder, generate, prompts, samples, seed)
        if keep:
            keep.write_text(json.dumps(answers, indent=1), encoding="utf-8")
        said = outputs_of(answers, characters)
    else:
        raise click.UsageError("give a file of answers, or --models, --generate and --prompts together")
    found = compare(said)
    tree = neighbour_joining(found.models, found.distance) if len(found.models) > 2 else None
    if json_wanted:
        click.echo(json.dumps(_as_json(found, newick(tree) if tree else None), indent=1))
    elif newick_wanted:
        click.echo(newick(tree if tree else neighbour_joining(found.models, found.distance)))
    else:
        _print(found, drawn(tree) if tree else None)


def _ask(folder: Path, generate: str, prompts: Path, samples: int, seed: int) -> dict[str, dict[str, list[str]]]:
    from safetensors.torch import load_file

    from lineage.commands.methods import named_function
    from lineage.crawler.folder import local_models
    from lineage.detect.methods.phylolm import collect

    models = {
        model.id: lambda files=model.files: {k: t for path in files for k, t in load_file(path).items()}
        for model in local_models(folder)
        if model.files
    }
    if not models:
        raise NoSuchModel(f"no model under {folder}", "name a folder of .safetensors files")
    return collect(models, named_function(generate, "--generate"), _prompts(prompts), samples, seed)


def _prompts(path: Path) -> list[str]:
    """
    Raises:
        BadOutputs: none in it, or no text.
    """
    from lineage.detect.methods.phylolm import BadOutputs

    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else [line for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise BadOutputs(
            f"cannot read {path}: {error}",
            "give a prompt a line, or a JSON list of texts",
        ) from error
    if not isinstance(found, list) or not found or not all(isinstance(prompt, str) for prompt in found):
        raise BadOutputs(f"{path} holds no prompts", "give a prompt a line, or a JSON list of texts")
    return list(dict.fromkeys(found))


def _as_json(found: PhyloResult, tree: str | None) -> dict[str, Any]:
    return {
        "models": list(found.models),
        "genes": found.genes,
        "similarity": [[round(float(v), 6) for v in row] for row in found.similarity],
        "distance": [[round(float(v), 6) for v in row] for row in found.distance],
        "newick": tree,
    }


def _print(found: PhyloResult, tree: str | None) -> None:
    """The tree, and each model's most similar other one."""
    from lineage.queries.display import print_table

    if tree:
        click.echo("\n".join(map(printable, f"{tree}\n".split("\n"))))
    rows = []
    for row, name in enumerate(found.models):
        others = [
            (float(v), other) for other, v in zip(found.models, found.similarity[row], strict=True) if other != name
        ]
        value, nearest = max(others)
        rows.append([name, nearest, f"{value:.3f}"])
    print_table(["model", "most similar", "similarity"], rows)
    click.echo(f"\n{counted(len(found.models), 'model')}, {counted(found.genes, 'prompt')} that all of them answered")
