"""Models on disk: single files, folders as savers write them, whole trees of those, and Hugging Face's cache.

Nothing here raises because of what a folder holds: what cannot be read is named with its reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, overload

from lineage.crawler.formats.interface import Format
from lineage.crawler.formats.registry import FORMATS, READ_SUFFIXES, SAFETENSORS, choose_model, format_of
from lineage.crawler.pipeline_components import PIPELINE
from lineage.crawler.selection import (
    Choice,
    Layout,
    WeightSet,
    adapter_sets,
    choose,
    files_by_index,
    missing_parts,
    missing_reason,
    no_weights_reason,
    without_suffix,
)
from lineage.crawler.sentence_modules import MODULES, modules_behind
from lineage.crawler.unread_formats import BUNDLES, looks_like_weights, unread_weights
from lineage.crawler.weights import LocalFile, UnreadableWeights, places_in
from lineage.graphdb.schema import MAIN_PARTS, Failure, NoSuchModel, real_path

INDEX_LIMIT_BYTES = 64 * 1024 * 1024
# folders that hold a repository's own model once more, in a format that is read where there is no other
_EXPORTS = frozenset(name for form in FORMATS for name in form.folders if name)
_CACHED_MODEL = re.compile(r"models--([\w.\-]+)", re.ASCII)
_CACHED_OTHER = re.compile(r"(datasets|spaces|kernels)--[\w.\-]+", re.ASCII)  # beside models in Hugging Face's cache
_REPOSITORY_FILES = frozenset({"config.json", "adapter_config.json", "model_index.json"})
# a file of our own: samples of other models, of a store that lies here
_SAMPLE = re.compile(r"[0-9a-f]{16,64}\.v\d\.safetensors", re.ASCII)
_BESIDE_DETECTOR = frozenset({"scoring.py", "small_network.py"})  # in a checkout of this program, also as it is built
_LONGEST_REF_BYTES = 100


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
        adapter: an adapter, by its configuration.
        index: the index file of its shards, where there is one.
    """

    id: str
    path: Path
    folder: Path
    files: tuple[Path, ...]
    reason: str | None = None
    adapter: bool = False
    repo_id: str | None = None
    revision: str | None = None
    index: Path | None = None

    @property
    def format(self) -> Format | None:
        """None where there is nothing to be read."""
        return format_of(self.files[0].name) if self.files else None


def local_models(folder: Path) -> Iterator[LocalModel]:
    """Every model under a folder, in order of paths; or the one model that a file is, or is a part of.

    Links to folders elsewhere are followed, each folder once. What looks like weights and cannot be opened is named with the
    reason: links that lead nowhere or in a circle, pipes, closed folders. Ids are unique, and so are paths of what can be read.

    Raises:
        NoSuchFolder: there is nothing at this path.
    """
    names: set[str] = set()
    places: set[Path] = set()
    for model in _models_below(folder):
        if model.files and model.path in places:  # two sets of shards of one name
            model = replace(model, path=model.files[0])
        if model.id in names:
            model = replace(model, id=_another_name(model))
        names.add(model.id)
        places.add(model.path)
        yield model


def _another_name(model: LocalModel) -> str:
    """For what would have the name of another model: `a/` beside `a.safetensors`, and the first file's whole name of other sets."""
    if model.path == model.folder:
        return f"{model.id}/"
    file = model.files[0] if model.files else model.path
    return shown_path(PurePosixPath(model.id).with_name(file.name)).replace("\n", "\\n")


def _models_below(folder: Path) -> Iterator[LocalModel]:
    """As `local_models`; where two sets of weights would have one name, both have it."""
    if folder.is_file():
        cached = _snapshot_of_cache(folder.absolute().parent)
        yield cached if cached and folder.name in [file.name for file in cached.files] else _of_file(folder)
        return
    if not folder.is_dir():
        raise NoSuchFolder(f"there is no file or folder {folder}", "check the path")
    cached = _cached_model(folder.absolute()) or _snapshot_of_cache(folder.absolute())
    if cached is not None:
        yield cached
        return
    closed: list[Path] = []
    links = _Links(folder)
    for place, subfolders, names in os.walk(
        folder, onerror=lambda error: closed.append(Path(str(error.filename))), followlinks=True
    ):
        here = Path(place)
        parts = modules_behind(here) if MODULES in names else frozenset[str]()
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name not in parts)
        ours = {"detector.safetensors"} if _BESIDE_DETECTOR.issubset(names) else set[str]()
        found = list(
            _of_folder(folder, here, [name for name in sorted(names) if _matters(here / name) and name not in ours])
        )
        if any(model.path == here and model.files and not model.adapter for model in found):
            subfolders[:] = [name for name in subfolders if name not in _EXPORTS]
        loose = here == folder and bool(subfolders) and _REPOSITORY_FILES.isdisjoint(names)
        yield from [_named_by_file(found[0])] if loose and len(found) == 1 else found
        for path in (here / name for name in sorted(names) if "." not in name):
            if path.is_symlink() and not path.exists():
                yield LocalModel(_name(folder, path), path, path, (), _leads_nowhere(path))
        for name in list(subfolders):
            path = here / name
            cached = _cached_model(path)
            if cached is not None:
                yield cached
            elif _CACHED_OTHER.fullmatch(name) and (path / "snapshots").is_dir():
                pass  # data sets and programs
            elif name == "graph" and (path / "schema.json").is_file() and (path / "configuration.json").is_file():
                pass  # the database of a store of ours
            elif name.lower().endswith(BUNDLES):
                yield LocalModel(_name(folder, path), path, path, (), unread_weights([name]))
            elif links.in_circle(path):
                yield LocalModel(_name(folder, path), path, path, (), "a link to a folder that it lies in itself")
            elif links.enter(path):
                continue
            subfolders.remove(name)
    for path in closed:
        yield LocalModel(_name(folder, path), path, path, (), "the folder cannot be opened")


def _named_by_file(model: LocalModel) -> LocalModel:
    """A single loose file above folders of models, which is not what the whole folder is."""
    if model.id != "." or len(model.files) != 1:
        return model
    return replace(model, id=shown_path(PurePosixPath(model.files[0].name)), path=model.files[0])


class _Links:
    """Which folders are walked, so that each is once, under its own name where it has one."""

    def __init__(self, folder: Path):
        self._top = real_path(folder)
        self._walked = {self._top}

    def in_circle(self, path: Path) -> bool:
        return path.is_symlink() and real_path(path.parent).is_relative_to(real_path(path))

    def enter(self, path: Path) -> bool:
        """Whether to walk into a subfolder, or a link to a folder."""
        target = real_path(path)
        if target in self._walked:
            return False
        if path.is_symlink() and target.is_relative_to(self._top):
            inside = target.relative_to(self._top).parts
            if not any(part.startswith(".") for part in inside):
                return False  # it is walked under its own name
        self._walked.add(target)
        return True


def one_local_model(path: Path) -> LocalModel:
    """The one model of a path: of a folder that is a model, that one, whatever lies below it; of a diffusion pipeline its main part; an
    adapter if there is nothing else.

    Raises:
        NoSuchFolder: nothing there. UnreadableWeights: no model, one that cannot be read, or several.
    """
    models = list(local_models(path))
    if len(models) == 1 and models[0].adapter:
        return models[0]
    several = [model for model in models if (form := model.format) and form.one_each]
    readable = [model for model in models if model.files and model not in several] or several
    if readable == several and len({m.folder for m in several}) == 1:  # the same model in several sizes
        _, choice = choose_model([file.name for model in readable for file in model.files])
        best = choice.weights.files if choice.weights else ()
        readable = [model for model in readable if model.files[0].name in best]
    if len(readable) > 1:
        readable = [model for model in readable if model.path == path and not model.adapter] or readable
    if len(readable) > 1 and (path / PIPELINE).is_file():
        readable = [model for part in MAIN_PARTS for model in readable if model.folder == path / part][:1] or readable
    if len(readable) > 1:
        names = ", ".join(model.id for model in readable[:4])
        raise UnreadableWeights(
            f"{path} holds several models: {names}{' …' if len(readable) > 4 else ''}", "name one of them"
        )
    if not readable:
        why = (models[0].reason if models else None) or "no weight files"
        raise UnreadableWeights(
            f"nothing can be read in {path}: {why}", "name a .safetensors file or a folder that holds one"
        )
    return readable[0]


def shown_path(path: Path | PurePosixPath) -> str:
    """A path as text; bytes that are no UTF-8 come out as `\\xe9`."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def _of_file(path: Path) -> LocalModel:
    """The model of one file; where it is one of several shards or parts, the whole model."""
    name, here = shown_path(Path(without_suffix(path.name))), path.parent
    form = format_of(path.name)
    if form is None:
        return LocalModel(name, path, here, (), no_weights_reason([path.name]))
    names = _names_beside(path)
    found = next((s for s in form.sets(names) if path.name in s.files), None)
    if form.one_each and found is not None:
        return _one_of_several(here, here, form, found, alone=True)
    if form is not SAFETENSORS:
        files = found.files if found else (path.name,)
        return LocalModel(shown_path(Path(path.name)), path, here, tuple(here / name for name in files))
    for model in _of_folder(here, here, names):
        if path in model.files and len(model.files) > 1:
            return model if model.id != "." else replace(model, id=real_path(here).name)
    if found is not None and found.missing:
        return LocalModel(name, path, here, (), missing_reason(found))
    return LocalModel(name, path, here, (path,))


def _names_beside(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.parent.iterdir() if _matters(entry))
    except OSError:
        return [path.name]


def _of_folder(root: Path, here: Path, names: list[str]) -> Iterator[LocalModel]:
    """Models whose files lie directly in this folder."""
    sets = SAFETENSORS.sets(names)
    several = [(form, found) for form in FORMATS if form.one_each for found in form.sets(names)]
    for form, found in several:
        model = _one_of_several(root, here, form, found, alone=len(several) == 1 and not sets)
        if model is not None:
            yield model
    if several and not sets:
        return
    alone = bool(sets) and sets[0].rank == 0 and all(s.variant for s in sets[1:])  # beside copies of itself at most
    alone = alone or (len(sets) == 1 and len(adapter_sets(sets)) == 1)
    like_repository = alone or not _REPOSITORY_FILES.isdisjoint(names)
    choice = choose(names)
    others = [s for form in FORMATS if not form.one_each and form is not SAFETENSORS for s in form.sets(names)]
    if others and not sets and (like_repository or len(others) == 1):
        yield _chosen(_name(root, here), here, choose_model(names)[1], here)
        return
    if choice.adapter and choice.weights is None:
        choice = choose_model(names)[1]
    if like_repository and (choice.weights is not None or not sets):
        if sets or any(map(_like_weights, names)):
            yield _chosen(_name(root, here), here, choice, here)
        return
    for found in sets:
        if found.layout is Layout.SINGLE:
            file = here / found.files[0]
            yield _openable(LocalModel(_name(root, here / found.stem), file, here, (file,)))
        else:
            yield _chosen(_name(root, here / found.stem), here / found.stem, Choice(found), here)
    stems = {found.stem for found in sets}
    for other in others:
        if other.stem not in stems:
            files = tuple(here / name for name in other.files)
            why = missing_parts(other.missing, other.missing + len(files)) if other.missing else None
            yield _openable(LocalModel(_name(root, files[0]), files[0], here, () if why else files, why))
    if not sets and not others and any(map(_like_weights, names)):
        yield LocalModel(_name(root, here), here, here, (), no_weights_reason(names))


@overload
def _one_of_several(root: Path, here: Path, form: Format, found: WeightSet, *, alone: Literal[True]) -> LocalModel: ...
@overload
def _one_of_several(root: Path, here: Path, form: Format, found: WeightSet, *, alone: bool) -> LocalModel | None: ...
def _one_of_several(root: Path, here: Path, form: Format, found: WeightSet, *, alone: bool) -> LocalModel | None:
    """A model named by its file; None for what goes along with the models beside it, such as a projector."""
    files = tuple(here / part for part in found.files)
    model = _openable(LocalModel(_name(root, files[0]), files[0], here, files))
    if found.missing:
        return replace(model, files=(), reason=model.reason or missing_reason(found))
    rank = form.companion_rank(found)
    if not rank or model.reason:
        return model
    try:
        companion = form.companion([LocalFile(file) for file in files])
    except Failure as error:
        return replace(model, files=(), reason=error.message) if alone else model if rank == 1 else None
    if companion is None:
        return model
    if companion.adapter or alone:
        return replace(model, files=(), reason=companion.reason, adapter=companion.adapter)
    return None


def _cached_model(folder: Path) -> LocalModel | None:
    """A model of Hugging Face's cache: the revision that `main` names; the newest that has weights, where that one has none."""
    match = _CACHED_MODEL.fullmatch(folder.name)
    if not match or not any((folder / name).is_dir() for name in ("snapshots", "blobs")):
        return None
    repo_id = match[1].replace("--", "/", 1)
    snapshots = [path for path in _entries(folder / "snapshots") if path.is_dir()]
    try:
        with (folder / "refs" / "main").open("rb") as file:
            main = file.read(_LONGEST_REF_BYTES).decode("ascii", errors="replace").strip()
    except OSError:
        main = ""
    snapshots.sort(key=lambda path: (path.name == main, _changed_at(path), path.name), reverse=True)
    if not snapshots:
        return LocalModel(repo_id, folder, folder, (), "the cache holds no revision of it", repo_id=repo_id)
    found = [_of_cache(repo_id, folder, snapshot) for snapshot in snapshots]
    return next((model for model, any_weights in found if any_weights), found[0][0])


def _snapshot_of_cache(folder: Path) -> LocalModel | None:
    """The model of Hugging Face's cache whose revision a folder is, as `hf download` prints it; None where it is another revision
    than the one that the cache's model is read at."""
    if folder.parent.name != "snapshots":
        return None
    model = _cached_model(folder.parent.parent)
    return model if model is not None and model.files and model.revision == folder.name else None


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _of_cache(repo_id: str, folder: Path, snapshot: Path) -> tuple[LocalModel, bool]:
    """The model of one revision, and whether there are any weight files in it."""
    paths = [p.relative_to(snapshot).as_posix() for p in sorted(snapshot.rglob("*")) if p.is_file() or p.is_symlink()]
    _, choice = choose_model(paths)
    found = _chosen(repo_id, folder, choice, snapshot, repo_id, snapshot.name)
    return found, any(_like_weights(path.rpartition("/")[2]) for path in paths)


def _chosen(
    name: str, path: Path, choice: Choice, files_in: Path, repo_id: str | None = None, revision: str | None = None
) -> LocalModel:
    files: tuple[Path, ...] = ()
    reason, index = choice.reason, None
    if choice.weights is not None:
        index = files_in / choice.weights.index if choice.weights.index else None
        try:
            files = _files(choice.weights, files_in)
        except Failure as error:
            reason = error.message
    found = LocalModel(
        name,
        path,
        files_in,
        files,
        None if files else reason,
        choice.adapter,
        repo_id,
        revision,
        index if files else None,
    )
    return _openable(found)


def _files(weights: WeightSet, folder: Path) -> tuple[Path, ...]:
    """
    Raises:
        Failure: shards are missing, or the index is not one.
    """
    if weights.layout is Layout.INDEXED and weights.index is not None:
        choice = files_by_index(weights, set(named_in(folder / weights.index).values()))
        if choice.weights is None:
            raise UnreadableWeights(choice.reason or "no weight files")
        weights = choice.weights
    if weights.missing:
        raise UnreadableWeights(missing_reason(weights))
    return tuple(folder / file for file in weights.files)


def named_in(index: Path) -> dict[str, str]:
    """Tensor -> file beside an index file.

    Raises:
        BadHeader: it is no index. UnreadableWeights: it cannot be opened.
    """
    try:
        with index.open("rb") as opened:
            return places_in(opened.read(INDEX_LIMIT_BYTES), shown_path(index))
    except OSError as error:
        raise UnreadableWeights(f"{shown_path(index)} cannot be read: {os.strerror(error.errno or 0)}") from None


def _openable(model: LocalModel) -> LocalModel:
    """The model as it is, or with the reason why one of its files cannot be opened."""
    for file in model.files:
        try:
            if file.is_file():
                continue
            why = (
                _leads_nowhere(file)
                if file.is_symlink() and not file.exists()
                else f"{shown_name(file)} is not a regular file"
            )
        except OSError as error:
            why = f"{shown_name(file)} cannot be opened: {os.strerror(error.errno or 0)}"
        return replace(model, files=(), reason=why, index=None)
    return model


def _leads_nowhere(link: Path) -> str:
    try:
        target = shown_path(link.readlink())
    except OSError:
        target = "?"
    return f"{shown_name(link)} is a link that leads nowhere ({target})"


def shown_name(path: Path) -> str:
    return shown_path(Path(path.name))


def _matters(path: Path) -> bool:
    """Nothing but weights and configurations matters here, no samples of weights, and no archives of anything else."""
    name = path.name
    if not (_like_weights(name) or name.lower().endswith(".json")) or _SAMPLE.fullmatch(name):
        return False
    form = format_of(name)
    return form is None or not path.is_file() or form.holds_model(LocalFile(path))


def _like_weights(name: str) -> bool:
    """Of a format that is read, or that is recognised and not read."""
    return name.lower().endswith(READ_SUFFIXES) or looks_like_weights(name)


def _name(root: Path, path: Path) -> str:
    """The id of a model: one line, since line breaks part the ids of models from those of their parts in detection."""
    return shown_path(PurePosixPath(path.relative_to(root))).replace("\n", "\\n") if path != root else "."
