"""Where a store keeps its samples and what a crawl remembers."""

from __future__ import annotations

from pathlib import Path

from lineage.graphdb.errors import NotAStore
from lineage.graphdb.schema import home_path


def sketches_folder(store_url: str, sketches: str | None) -> Path | str:
    """The folder or address asked for, else the folder that belongs to the store.

    Raises:
        NotAStore: the store's folder would be a file.
    """
    if sketches and "://" in sketches.removeprefix("file://"):
        return sketches
    if sketches:
        return home_path(sketches.removeprefix("file://"))
    if "://" in store_url:
        return home_path("~/.lineage/sketches")
    place = home_path(store_url)
    if place.is_file():
        raise NotAStore(f"{place} is a file, not the folder of a store", "give --store a folder")
    return place / "sketches"


def state_folder(store_url: str, sketches: str | None) -> Path:
    """A folder on this disk for what a crawl remembers: that of the samples, or where they lie elsewhere, the store's own."""
    folder = sketches_folder(store_url, sketches)
    return folder if isinstance(folder, Path) else Path(sketches_folder(store_url, None))
