"""`mergekit_config.yml`, which mergekit leaves beside a merge -> the models that it names. A claim, like a card's.

Models are named under `models` and `slices[].sources`, each as a text or as a mapping with `model`, with an adapter behind `+` and a
revision behind `@`; and as `base_model`. Format: https://github.com/arcee-ai/mergekit (mergekit/config.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lineage.crawler.card import plain_fields
from lineage.crawler.claims_in_files import MAX_CLAIMS, named_base

RECIPE = "mergekit_config.yml"
_DEPTH = 8  # of `slices: - sources: - model: {model: {path: …}}`
_FIELDS = ("models", "slices", "base_model")


def bases_in_recipe(text: str) -> tuple[str, ...]:
    """Each model that a recipe names, as it is written there, once; at most MAX_CLAIMS.

    Args:
        text: the file, or its beginning where it is longer than any real one.
    """
    fields = plain_fields(text, _FIELDS, _DEPTH)
    found: dict[str, None] = {}
    for field in _FIELDS:
        for written in _models(fields.get(field), field == "base_model"):
            named = named_base(written.partition("+")[0].partition("@")[0])
            if named is not None and len(found) < MAX_CLAIMS:
                found.setdefault(named)
    return tuple(found)


def _models(value: Any, is_model: bool) -> Iterator[str]:
    """Texts at the places of models."""
    if isinstance(value, str):
        if is_model:
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _models(item, is_model)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _models(item, key in ("model", "path"))
