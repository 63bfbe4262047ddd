"""The names that a model on disk goes by in cards and commands beside its path: `org/name` of a folder in a folder, `name` alone."""

from __future__ import annotations

from pathlib import PurePosixPath

from lineage.crawler.folder import LocalModel, shown_path
from lineage.graphdb.schema import real_path


def names_of(local: LocalModel) -> tuple[str, ...]:
    """Names relative to the folder that was asked for, and the last two parts of the path; none for Hugging Face's cache, which
    says what a model is called."""
    if local.repo_id is not None:
        return ()
    path = real_path(local.path)
    place = path.with_suffix("") if path.suffix == ".safetensors" else path
    return tuple(
        dict.fromkeys(
            name for name in (local.id, shown_path(PurePosixPath(*place.parts[-2:]))) if name not in (".", "")
        )
    )
