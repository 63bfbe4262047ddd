"""Merges by mergekit (Goddard et al. 2024), configured as its `mergekit-yaml` command is.

In: a member with its parents' folders. Out: a folder with model.safetensors and config.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.hub_family.description import Member, Merge


def configuration(member: Member, recipe: Merge, work: Path) -> dict[str, Any]:
    """What the YAML file of a merge would hold."""
    parameters: dict[str, float] = {"weight": recipe.weight}
    if recipe.method in ("ties", "dare_ties"):
        parameters["density"] = recipe.density
    parents = [{"model": str(work / parent)} for parent in member.parents]
    made: dict[str, Any] = {"merge_method": recipe.method, "dtype": member.storage}
    if recipe.method == "slerp":
        return made | {
            "models": parents,
            "base_model": str(work / member.parents[0]),
            "parameters": {"t": recipe.weight},
        }
    made["models"] = [{**parent, "parameters": parameters} for parent in parents]
    return made if recipe.method == "linear" else made | {"base_model": str(work / recipe.base)}


def merge(member: Member, recipe: Merge, work: Path) -> None:
    """Write the merged model beside its parents."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    run_merge(
        MergeConfiguration.model_validate(configuration(member, recipe, work)),
        str(work / member.names[0]),
        MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True, random_seed=member.seed),
    )
