"""`lineage methods`: what can decide. And what methods that need forward passes are given on the command line."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.detect.methods.registry import METHODS, Method, MethodInputs, Setting
from lineage.graphdb.schema import Failure, NoSuchModel

if TYPE_CHECKING:
    from torch import Tensor


class NoSuchFunction(Failure):
    """`--forward` names no function that can be imported."""

    exit_code = 2


class BadBatch(Failure):
    """`--batch` names no file of tensors."""

    exit_code = 2


@click.command()
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def methods(json_wanted: bool) -> None:
    """The methods that `--method NAME` takes: ours and published ones, where they are from, what they need, their options.

    \b
    lineage methods
    lineage methods --json | jq -r .[].name
    """
    if json_wanted:
        click.echo(json.dumps([_as_json(method) for method in METHODS], indent=1))
    else:
        click.echo("\n".join(line for method in METHODS for line in _as_text(method)))


def _as_json(method: Method) -> dict[str, Any]:
    fields = asdict(method)
    del fields["load"]
    return fields


def _as_text(method: Method) -> list[str]:
    needs = {
        "weights": "weights only",
        "forward": "weights, --forward and --batch",
        "either": "weights; --forward and --batch for features",
        "outputs": "outputs of the models",
    }
    lines = [f"{method.name}   {method.summary}", f"    from {method.source}; needs {needs[method.needs]}"]
    return [*lines, *(f"    {_as_words(setting)}" for setting in method.settings)]


def _as_words(setting: Setting) -> str:
    default = {True: "yes", False: "no"}[setting.default] if isinstance(setting.default, bool) else setting.default
    choices = f" ({', '.join(setting.choices)})" if setting.choices else ""
    return f"{setting.name}={default}   {setting.summary}{choices}"


def given_for(folder: Path, forward: str | None, batch: Path | None) -> MethodInputs | None:
    """What the two options name; None without them.

    Args:
        folder: where the models are; ids are those of `lineage scan`.
    Raises:
        NoSuchFunction, BadBatch: one of them cannot be used, or is missing while the other is there.
    """
    if forward is None and batch is None:
        return None
    if forward is None:
        raise NoSuchFunction("--batch needs --forward MODULE:FUNCTION, the function that runs a model on it")
    if batch is None:
        raise BadBatch("--forward needs --batch FILE.safetensors, what the function runs the models on")
    return MethodInputs(named_function(forward), _batch(batch), lambda name: _tensors(folder, name))


def named_function(name: str, option: str = "--forward") -> Callable[..., Any]:
    """The user's own function `package.module:function`, from the Python path.

    Raises:
        NoSuchFunction: unknown name.
    """
    module, colon, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function) if colon and module and function else None
    except (ImportError, AttributeError) as error:
        raise NoSuchFunction(f"{option} {name}: {error}", "name a module on the Python path (PYTHONPATH)") from None
    if not callable(found):
        raise NoSuchFunction(f"{option} {name} names no function", "write it as package.module:function")
    return found


def _batch(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadBatch(f"--batch {path} cannot be read: {error}", "give a .safetensors file of inputs") from None


def _tensors(folder: Path, name: str) -> Mapping[str, Tensor]:
    """All tensors of the scan's model of this id, by their names in the files."""
    from safetensors.torch import load_file

    from lineage.crawler.folder import local_models

    for model in local_models(folder):
        if model.id == name:
            return {key: tensor for path in model.files for key, tensor in load_file(path).items()}
    raise NoSuchModel(f"there is no model {name} under {folder}")
