"""What lies beside the weights under a folder: the claims and the licences of cards, by the ids that a scan gives its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lineage.crawler.pipeline_components import PIPELINE
from lineage.graphdb.schema import MAIN_PARTS, Declaration, Failure

NO_DIGEST = "0" * 64  # the weights are not read for this


@dataclass(frozen=True, slots=True)
class Card:
    """What a model's README and configuration say."""

    claims: tuple[Declaration, ...]
    license: str | None


def cards_under(folder: Path) -> Mapping[str, Card]:
    """id -> its card. A README that several models share says nothing of one of them, so it is left out; that of a diffusion pipeline,
    which lies above its parts, is the card of its main part."""
    from lineage.crawler.folder import local_models
    from lineage.crawler.open_model import locate_local

    models = list(local_models(folder))
    sharing = Counter(model.folder for model in models)
    found = {}
    for model in models:
        if sharing[model.folder] > 1:
            continue
        pipeline = model.folder.parent
        if model.folder.name in MAIN_PARTS and (pipeline / PIPELINE).is_file():
            model = replace(model, folder=pipeline)
        try:
            opened = locate_local(model, lambda _: NO_DIGEST)
        except Failure:
            continue
        found[model.id] = Card(opened.declarations, opened.model.license)
    return found
