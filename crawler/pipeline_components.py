"""Repositories that hold several models: parts of a diffusion pipeline, adapters in folders, or sets of weights none of which is named
as the model.

Each part becomes a model of its own, with the identity `<hub_id>/<part>` and the name `org/name/<part>`. A `hub_id` is a text
without slash, so these identities meet no other, and neither schema nor store has to know of them. What the card declares is
about the repository as a whole and stays there: a part's base is found by its weights. Only adapters, which may lie in folders beside
a model as well, take its claims over: that they belong to one base is what such a card says.
"""

from __future__ import annotations

from collections.abc import Collection

from lineage.crawler.claims_in_files import ADAPTER_CONFIG
from lineage.crawler.selection import INDEX_SUFFIX, WeightSet, adapter_sets, choose, is_safetensors, weight_sets
from lineage.graphdb.schema import MAIN_PARTS

PIPELINE = "model_index.json"
MAX_PARTS = 16  # more are checkpoints or collections, not the parts of one thing


def parts_of(files: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Name of each part -> its files; empty for a repository that is one model, or none."""
    if sum(is_safetensors(path) for path in files) < 2:
        return {}
    every = weight_sets(files)
    choice = choose(files)
    if choice.adapter:
        adapters = adapter_sets(every)
        parts = _by_folder(files, adapters) if choice.several else {}
        return parts if 1 < len(parts) <= MAX_PARTS else {}
    sets = [found for found in every if not found.adapter] or every
    if PIPELINE in files:
        parts = _by_folder(files, sets)
    elif choice.reason:
        root = [found for found in sets if not found.folder and not found.variant]
        parts = {s.stem: _files_of(s) for s in root} if len(root) > 1 else _by_folder(files, sets) if not root else {}
    else:
        return {}
    return parts if 1 < len(parts) <= MAX_PARTS else {}


def main_part(files: Collection[str]) -> str | None:
    """Name of the part that a pipeline is named after; None for everything else."""
    parts = parts_of(files) if PIPELINE in files else {}
    return next((part for part in MAIN_PARTS if part in parts), None)


def adapters_beside(files: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Folders of adapters in a repository that is a model itself -> their files."""
    if not any(file.endswith("/" + ADAPTER_CONFIG) for file in files):
        return {}
    choice = choose(files)
    if choice.adapter or choice.weights is None:
        return {}
    beside = [s for s in adapter_sets(weight_sets(files)) if s.folder and s.folder != choice.weights.folder]
    parts = {name: inside for name, inside in _by_folder(files, beside).items() if choose(inside).adapter}
    return parts if len(parts) <= MAX_PARTS else {}


def _by_folder(files: Collection[str], sets: list[WeightSet]) -> dict[str, tuple[str, ...]]:
    """One part a folder, where one set of its weights is clearly the model."""
    parts = {}
    for folder in dict.fromkeys(s.folder for s in sets if s.folder):
        inside = tuple(file for file in files if file.rpartition("/")[0] == folder)
        if choose(inside).weights is not None:
            parts[folder] = inside
    return parts


def _files_of(weights: WeightSet) -> tuple[str, ...]:
    named = (f"{weights.folder}/{weights.stem}{INDEX_SUFFIX}".lstrip("/"),) if weights.index else ()
    return (*weights.files, *named)
