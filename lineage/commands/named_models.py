"""A model of the graph by the name that a person typed, with a note where this is a part of what was named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lineage.commands.messages import note
from lineage.crawler.pipeline_components import PIPELINE
from lineage.graphdb.schema import MAIN_PARTS, Model, home_path, real_path

if TYPE_CHECKING:
    from lineage.graphdb.store import Store


def resolved(store: Store, name: str) -> Model:
    """
    Raises:
        NoSuchModel: see queries.resolve.
    """
    from lineage.queries.resolve import resolve

    model = resolve(store, name)
    note_part(name, model)
    return model


def note_part(named: str, model: Model) -> None:
    """Of a pipeline the main part is answered for."""
    part = _part_of_folder(named, model.path) if model.path is not None else _part_of_repository(named, model)
    if part is not None:
        note(f"{named} is a pipeline of several models: this is about its main part, {part}")


def _part_of_folder(named: str, path: str) -> str | None:
    folder = home_path(named)
    if not (folder / PIPELINE).is_file() or real_path(folder) not in Path(path).parents:
        return None
    return Path(path).relative_to(real_path(folder)).parts[0]


def _part_of_repository(named: str, model: Model) -> str | None:
    part = model.hub_id.partition("/")[2]
    typed = named.partition("@")[0].rstrip("/")
    return part if part in MAIN_PARTS and not typed.endswith(f"/{part}") else None
