"""Models on disk: single files, folders as savers write them, whole trees of those, and Hugging Face's cache.

Nothing here raises because of what a folder holds: what cannot be read is named with its reason.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lineage.crawler.quantized_claims import choose_gguf, gguf_sets
from lineage.crawler.selection import Choice, Layout, WeightSet, choose, no_weights_reason, weight_sets
from lineage.crawler.weights import Unreadable, shards_named_by
from lineage.graphdb.schema import Failure, NoSuchModel

INDEX_LIMIT_BYTES = 64 * 1024 * 1024
_CACHED_MODEL = re.compile(r"models--([\w.\-]+)", re.ASCII)
_REPOSITORY_FILES = frozenset({"config.json", "adapter_config.json", "model_index.json"})
_WEIGHT_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack")


class NoSuchFolder(NoSuchModel):
    """There is nothing at this path."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """One model on disk, or something that would be one if it could be read.

    Attributes:
        id: its path under the folder that was asked for, without `.safetensors` (with `.gguf`, since both may lie there); `.` for
            that folder itself; `org/name` in Hugging Face's cache.
        path: what it is on disk: the file, or the folder; its identity.
        folder: where its README and its configuration would lie.
        files: weight files; empty if `reason` says why there are none to be read.
        repo_id, revision: in Hugging Face's cache, what the cache says it is.
        adapter: a low-rank adapter.
    """

    id: str
    path: Path
    folder: Path
    files: tuple[Path, ...]
    reason: str | None = None
    adapter: bool = False
    repo_id: str | None = None
    revision: str | None = None

    @property
    def gguf(self) -> bool:
        return bool(self.files) and self.files[0].suffix == ".gguf"


def local_models(folder: Path) -> Iterator[LocalModel]:
    """Every model under a folder, in order of paths; or the one model of a `.safetensors` file.

    Raises:
        NoSuchFolder: there is nothing at this path.
    """
    if folder.is_file():
        yield _of_file(folder, folder.name.removesuffix(".safetensors"))
        return
    if not folder.is_dir():
        raise NoSuchFolder(f"there is no file or folder {folder}", "check the path")
    cached = _cached_model(folder)
    if cached is not None:
        yield cached
        return
    closed: list[Path] = []
    for place, subfolders, names in os.walk(folder, onerror=lambda error: closed.append(Path(str(error.filename)))):
        here = Path(place)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from _of_folder(folder, here, [name for name in sorted(names) if _is_regular(here / name)])
        for name in list(subfolders):
            cached = _cached_model(here / name)
            if cached is not None:
                yield cached
                subfolders.remove(name)
    for path in closed:
        yield LocalModel(_name(folder, path), path, path, (), "the folder cannot be opened")


def one_local_model(path: Path) -> LocalModel:
    """The one model that a path stands for; an adapter if there is nothing else.

    Raises:
        NoSuchFolder: nothing there. Unreadable: no model, one that cannot be read, or several.
    """
    models = list(local_models(path))
    if len(models) == 1 and models[0].adapter:
        return models[0]
    readable = [model for model in models if model.files and not model.gguf] or [m for m in models if m.files]
    if all(model.gguf for model in readable):  # the same model in several sizes: the one that lost least
        best = set(choose_gguf([file.name for model in readable for file in model.files]))
        readable = [m for m in readable if len({m.folder for m in readable}) > 1 or m.files[0].name in best]
    if len(readable) > 1:
        names = ", ".join(model.id for model in readable[:4])
        raise Unreadable(f"{path} holds several models: {names}{' …' if len(readable) > 4 else ''}", "name one of them")
    if not readable:
        why = models[0].reason if models else "no weight files"
        raise Unreadable(f"nothing can be read in {path}: {why}", "name a .safetensors file or a folder that holds one")
    return readable[0]


def content_hash(path: Path) -> str:
    """sha256 hex of a file, read to its end: names of links and caches are not believed.

    Raises:
        Unreadable: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {os.strerror(error.errno or 0)}", "check its permissions") from None


def _of_file(path: Path, name: str) -> LocalModel:
    if path.name.endswith((".safetensors", ".gguf")):
        return LocalModel(name, path, path.parent, (path,))
    return LocalModel(name, path, path.parent, (), no_weights_reason([path.name]))


def _of_folder(root: Path, here: Path, names: list[str]) -> Iterator[LocalModel]:
    """Models whose files lie directly in this folder."""
    sets = weight_sets(names)
    ggufs = gguf_sets(names)
    for parts in ggufs:
        files = tuple(here / part for part in parts)
        yield LocalModel(_name(root, files[0]), files[0], here, files)
    if ggufs and not sets:
        return
    alone = bool(sets) and sets[0].rank == 0 and all(s.variant for s in sets[1:])  # beside copies of itself at most
    like_repository = alone or not _REPOSITORY_FILES.isdisjoint(names)
    choice = choose(names)
    if like_repository and (choice.weights is not None or not sets):
        if sets or any(name.endswith(_WEIGHT_SUFFIXES) for name in names):
            yield _chosen(_name(root, here), here, choice, here)
        return
    for found in sets:
        if found.layout is Layout.SINGLE:
            file = here / found.files[0]
            yield LocalModel(_name(root, here / found.stem), file, here, (file,))
        else:
            yield _chosen(_name(root, here / found.stem), here / found.stem, Choice(found), here)
    if not sets and any(name.endswith(_WEIGHT_SUFFIXES) for name in names):
        yield LocalModel(_name(root, here), here, here, (), no_weights_reason(names))


def _cached_model(folder: Path) -> LocalModel | None:
    """A model of Hugging Face's cache: the revision that `main` names, or else the last one by name."""
    match = _CACHED_MODEL.fullmatch(folder.name)
    if not match or not (folder / "snapshots").is_dir():
        return None
    repo_id = match[1].replace("--", "/", 1)
    snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    try:
        main = (folder / "refs" / "main").read_text()[:100].strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    chosen = next((path for path in snapshots if path.name == main), snapshots[-1] if snapshots else None)
    if chosen is None:
        return LocalModel(repo_id, folder, folder, (), "the cache holds no revision of it", repo_id=repo_id)
    paths = [p.relative_to(chosen).as_posix() for p in sorted(chosen.rglob("*")) if p.is_file()]
    return _of_cache(repo_id, folder, paths, chosen)


def _of_cache(repo_id: str, folder: Path, paths: list[str], chosen: Path) -> LocalModel:
    choice = choose(paths)
    if choice.weights is None and (ggufs := choose_gguf(paths)):
        files = tuple(chosen / path for path in ggufs)
        return LocalModel(repo_id, folder, chosen, files, repo_id=repo_id, revision=chosen.name)
    return _chosen(repo_id, folder, choice, chosen, repo_id, chosen.name)


def _chosen(
    name: str, path: Path, choice: Choice, files_in: Path, repo_id: str | None = None, revision: str | None = None
) -> LocalModel:
    files: tuple[Path, ...] = ()
    reason = choice.reason
    if choice.weights is not None and not choice.adapter:
        try:
            files = _files(choice.weights, files_in)
        except Failure as error:
            reason = error.message
    return LocalModel(name, path, files_in, files, None if files else reason, choice.adapter, repo_id, revision)


def _files(weights: WeightSet, folder: Path) -> tuple[Path, ...]:
    """
    Raises:
        Failure: shards are missing, or the index is not one.
    """
    if weights.missing:
        raise Unreadable(f"{weights.missing} of its {weights.missing + len(weights.files)} weight files are missing")
    if weights.index is None:
        return tuple(folder / file for file in weights.files)
    index = folder / weights.index
    with index.open("rb") as opened:
        names = shards_named_by(opened.read(INDEX_LIMIT_BYTES), str(index))
    files = tuple(index.parent / name for name in names)
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise Unreadable(f"the index names {absent[0]}, which is missing")
    return files


def _is_regular(path: Path) -> bool:
    """A file that can be read without blocking; nothing but weights and configurations matters here."""
    return path.suffix in (".safetensors", ".json", *_WEIGHT_SUFFIXES) and path.is_file()


def _name(root: Path, path: Path) -> str:
    return str(PurePosixPath(path.relative_to(root))) if path != root else "."
