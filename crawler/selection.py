"""Paths of a repository or folder -> which of them are the model.

Real repositories hold several sets of the same weights (half precision, consolidated, trainer states), adapters, parts of a
pipeline, or only pickles of other kinds than PyTorch's zip archives, which are never opened because unpickling runs a stranger's code.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from lineage.crawler.formats.gguf_names import gguf_sets
from lineage.crawler.unread_formats import trainer_state, unread_weights

MAX_SHARDS = 10_000
UNREAD_ADAPTER = "an adapter whose tensors are not read: there is no safetensors file"
INDEX_SUFFIX = ".safetensors.index.json"

_SHARD = re.compile(
    r"(?P<stem>.+?)[-_.](?P<number>\d{1,6})-of-(?P<total>\d{1,6})(?P<tail>[\w.\-]*)\.safetensors", re.ASCII | re.I
)
_VARIANT = re.compile(r"(^|[._\-])(fp16|bf16|fp32|fp8|non_ema|ema|8bit|4bit|int8|int4|consolidated)([._\-]|$)", re.I)
_ADAPTER = re.compile(r"(^|.*[._\-])(adapter_model|adapter|lora|lora_weights)([._\-].*)?", re.IGNORECASE)
_CHECKPOINT = re.compile(r"(^|/)checkpoint[-_]\d+(/|$)", re.IGNORECASE)  # what trainers save on the way
_PEFT_NAMES = ("adapter_model", "pytorch_lora_weights")  # what programs that train adapters call them
_MAIN_NAMES = ("model", "diffusion_pytorch_model", "pytorch_model")


class Layout(StrEnum):
    """How the weights of one set are spread over files."""

    SINGLE = "single"
    SHARDED = "sharded"  # numbered files, complete by their names
    INDEXED = "indexed"  # only the index says which files belong to it; see `files_by_index`


@dataclass(frozen=True, slots=True)
class WeightSet:
    """Files that together are one set of weights.

    Attributes:
        stem: name without number and suffix; `folder` is `""` at the root.
        files: paths; empty for INDEXED, where the file `index` names them.
        index: the index file, where there is one.
        missing: how many numbered shards are not there.
        beside: for INDEXED, the weight files in its folder.
    """

    folder: str
    stem: str
    layout: Layout
    files: tuple[str, ...]
    index: str | None = None
    missing: int = 0
    beside: tuple[str, ...] = ()

    @property
    def adapter(self) -> bool:
        """By its name an adapter; its tensors decide (crawler/quantized_claims.py)."""
        return _ADAPTER.fullmatch(self.stem) is not None

    @property
    def variant(self) -> bool:
        """By its name a copy of the weights in another form."""
        return _VARIANT.search(self.stem) is not None

    @property
    def rank(self) -> int:
        """0 for what loaders open first; higher ones are copies in another form or anything else."""
        if self.stem in _MAIN_NAMES:
            return _MAIN_NAMES.index(self.stem)
        return len(_MAIN_NAMES) + self.variant


@dataclass(frozen=True, slots=True)
class Choice:
    """The model among the files: `weights`, or None and the reason.

    Attributes:
        several: there is more than one set, and none of them is the model.
        adapter: an adapter, as its own configuration says; what merely has the name of one is read to find out. `weights` is None
            where its tensors cannot be read.
    """

    weights: WeightSet | None
    adapter: bool = False
    reason: str | None = None
    several: bool = False


def weight_sets(paths: Iterable[str]) -> list[WeightSet]:
    """All sets of safetensors weights, best candidates for `the model` first; trainer states are left out."""
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        if (is_safetensors(name) or name.endswith(INDEX_SUFFIX)) and not trainer_state(name):
            folders[folder].add(name)
    sets = [found for folder, names in folders.items() for found in _sets_of_folder(folder, names)]
    return sorted(sets, key=lambda s: (s.folder.count("/") + bool(s.folder), s.rank, s.folder, s.stem, s.layout))


def choose(paths: Collection[str]) -> Choice:
    """The one set of weights that is the model, or the adapter."""
    if not any(is_safetensors(path) or path.endswith((INDEX_SUFFIX, "adapter_config.json")) for path in paths):
        return Choice(None, reason=no_weights_reason(paths))  # most repositories of the Hub
    sets = weight_sets(paths)
    full = [s for s in sets if not s.adapter] or sets
    root = [s for s in full if not s.folder]
    names = {path.rpartition("/")[2] for path in paths}
    if "adapter_config.json" in names and not any(s.rank < len(_MAIN_NAMES) for s in root):
        peft = adapter_sets(sets)
        if len(peft) > 1 and peft[0].folder:
            shown = ", ".join(s.folder for s in peft[:4])
            return Choice(
                None,
                adapter=True,
                reason=f"several adapters, each of its own: {shown}{' …' if len(peft) > 4 else ''}",
                several=True,
            )
        if peft or not sets:
            return Choice(peft[0] if peft else None, adapter=True, reason=None if peft else UNREAD_ADAPTER)
    for group in (root, full):
        twins = _complete_twins(group)
        if twins:
            totals = " and of ".join(str(len(s.files)) for s in twins)
            return Choice(
                None,
                reason=f"several whole sets of shards ({twins[0].stem} of {totals}), and no index says which counts",
            )
        best = [s for s in group if s.rank == group[0].rank]
        if best and (len(best) == 1 or (best[0].rank < len(_MAIN_NAMES) and best[0].folder == best[1].folder)):
            return Choice(best[0])
        if best:
            what = (
                "weight files, none of which is named as the model"
                if group is root
                else "sets of weights in subfolders"
            )
            shown = ", ".join(sorted({f"{s.folder}/{s.stem}".lstrip("/") for s in best})[:4])
            return Choice(None, reason=f"several {what}: {shown}{' …' if len(best) > 4 else ''}", several=True)
    return Choice(None, reason=no_weights_reason(paths))


def adapter_sets(sets: Iterable[WeightSet]) -> list[WeightSet]:
    """Those that programs which train adapters write, one a folder; what a trainer saved on the way counts only where there is nothing
    else."""
    found = [s for s in sets if s.stem in _PEFT_NAMES and not s.missing]
    finished = [s for s in found if not _CHECKPOINT.search(s.folder)]
    return finished or found


def is_safetensors(path: str) -> bool:
    return path.lower().endswith(".safetensors")


def without_suffix(name: str) -> str:
    """A name without `.safetensors`, in whatever case it is written."""
    return name[: -len(".safetensors")] if is_safetensors(name) else name


def files_by_index(weights: WeightSet, named: Collection[str]) -> Choice:
    """The files of an INDEXED set.

    Args:
        named: names of the files beside the index that it says are the model's.
    Returns:
        The set with its files; or the one other model there where none of the named files is, as where an index was copied along
        with a configuration; or the reason.
    """
    prefix = weights.folder + "/" if weights.folder else ""
    wanted = [prefix + name for name in sorted(named)]
    absent = [name for name in wanted if name not in weights.beside]
    if not absent:
        return Choice(replace(weights, files=tuple(wanted)))
    if len(absent) == len(wanted):
        other = choose([path.removeprefix(prefix) for path in weights.beside])
        if other.weights is not None and not other.weights.missing:
            return Choice(
                replace(weights, files=tuple(prefix + file for file in other.weights.files), stem=other.weights.stem)
            )
    what = f"the index names {absent[0].removeprefix(prefix)}, which is missing"
    return Choice(
        None, reason=what if len(absent) == 1 else f"{what}, as are {len(absent) - 1} more of its {len(wanted)}"
    )


def missing_reason(weights: WeightSet) -> str:
    """Why a set with missing shards cannot be read."""
    return missing_parts(weights.missing, weights.missing + len(weights.files))


def missing_parts(missing: int, total: int) -> str:
    return f"{missing} of its {total} weight files {'is' if missing == 1 else 'are'} missing"


def _complete_twins(group: list[WeightSet]) -> list[WeightSet]:
    """Sets of shards that are all whole and have the best name, where there are several."""
    best = [s for s in group if s.rank == group[0].rank and s.folder == group[0].folder and s.stem == group[0].stem]
    whole = [s for s in best if s.layout is Layout.SHARDED and not s.missing]
    return whole if len(whole) > 1 else []


def no_weights_reason(paths: Collection[str]) -> str:
    """Why nothing can be read where there is no safetensors file."""
    parts = next((found for found in gguf_sets(paths) if found.missing), None)
    if parts is not None:
        return f"{missing_parts(parts.missing, parts.missing + len(parts.files))} ({parts.files[0]} is there)"
    return unread_weights(paths) or "no weight files"


def weights_digest(hashes: Iterable[str], kind: str = "safetensors") -> str:
    """sha256 hex over the hashes of the weight files, whatever their names and order.

    Args:
        kind: how the files are read; the same bytes read in another way would be other weights.
        hashes: sha256 hex of each file's content (as large-file storage names it), or `git:` and git's own hash.
    """
    text = "\n".join([f"lineage weights 1: {kind}", *sorted(hashes)])
    return hashlib.sha256(text.encode()).hexdigest()


def _sets_of_folder(folder: str, names: set[str]) -> list[WeightSet]:
    prefix = folder + "/" if folder else ""
    sets: list[WeightSet] = []
    shards: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    singles: set[str] = set()
    for name in sorted(names):
        match = _SHARD.fullmatch(name)
        if match and 0 < int(match["total"]) <= MAX_SHARDS:
            shards[match["stem"] + match["tail"], int(match["total"])].setdefault(int(match["number"]), name)
        elif is_safetensors(name):
            singles.add(name)
    for (stem, total), numbered in shards.items():
        files = tuple(prefix + numbered[number] for number in sorted(numbered))
        sets.append(WeightSet(folder, stem, Layout.SHARDED, files, missing=max(0, total - len(files))))
    sets.sort(key=lambda s: s.missing > 0)  # what is whole comes first
    beside = tuple(prefix + name for name in sorted(names) if is_safetensors(name))
    for name in sorted(names - singles):
        stem = name.removesuffix(INDEX_SUFFIX)
        if not name.endswith(INDEX_SUFFIX) or f"{stem}.safetensors" in singles or not beside:
            continue
        numbered_so = [s for s in sets if s.layout is Layout.SHARDED and s.stem == stem]
        others = [s for s in sets if s not in numbered_so and not s.variant]
        if len(numbered_so) == 1 and not numbered_so[0].missing and not others and not _unnumbered(singles):
            sets = [replace(s, index=prefix + name) if s in numbered_so else s for s in sets]
        else:  # the index decides, whatever the numbers in the names say
            sets = [s for s in sets if s not in numbered_so]
            sets.append(WeightSet(folder, stem, Layout.INDEXED, (), index=prefix + name, beside=beside))
    if not any(s.layout is Layout.INDEXED for s in sets):  # an index claims the files beside it
        sets += [WeightSet(folder, without_suffix(n), Layout.SINGLE, (prefix + n,)) for n in sorted(singles)]
    return sets


def _unnumbered(singles: Collection[str]) -> bool:
    """Whether there are files that an index may name beside the numbered ones: no copies in another form, no adapters."""
    return any(not _VARIANT.search(name) and not _ADAPTER.fullmatch(without_suffix(name)) for name in singles)
