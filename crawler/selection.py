"""Paths of a repository or folder -> which of them are the model.

Real repositories hold several sets of the same weights (half precision, consolidated, trainer states), adapters, parts of a
pipeline, or only pickles, which are never opened because unpickling runs a stranger's code.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

MAX_SHARDS = 10_000
LOW_RANK = "a low-rank adapter, which has no full weights"
INDEX_SUFFIX = ".safetensors.index.json"

_SHARD = re.compile(
    r"(?P<stem>.+?)[-_.](?P<number>\d{1,6})-of-(?P<total>\d{1,6})(?P<tail>[\w.\-]*)\.safetensors", re.ASCII
)
_VARIANT = re.compile(r"(^|[._\-])(fp16|bf16|fp32|fp8|non_ema|ema|8bit|4bit|int8|int4|consolidated)([._\-]|$)", re.I)
_ADAPTER = re.compile(r"(^|.*[._\-])(adapter_model|adapter|lora|lora_weights)([._\-].*)?", re.IGNORECASE)
_TRAINER = re.compile(r"(optimizer|optim|scheduler|rng_state|random_states|training_args|scaler)\b.*", re.IGNORECASE)
_MAIN_NAMES = ("model", "diffusion_pytorch_model", "pytorch_model")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".nemo", ".th")
_OTHER_FORMATS = (
    ".gguf",
    ".ggml",
    ".h5",
    ".keras",
    ".msgpack",
    ".onnx",
    ".tflite",
    ".ot",
    ".npz",
    ".mlmodel",
    ".pb",
    ".exl2",
)


class Layout(StrEnum):
    """How the weights of one set are spread over files."""

    SINGLE = "single"
    SHARDED = "sharded"  # numbered files, complete by their names
    INDEXED = "indexed"  # only the index says which files belong to it


@dataclass(frozen=True, slots=True)
class WeightSet:
    """Files that together are one set of weights.

    Attributes:
        stem: name without number and suffix; `folder` is `""` at the root.
        files: paths; empty for INDEXED, where the file `index` names them.
        missing: how many numbered shards are not there.
    """

    folder: str
    stem: str
    layout: Layout
    files: tuple[str, ...]
    index: str | None = None
    missing: int = 0

    @property
    def adapter(self) -> bool:
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
    """The model among the files: `weights`, or None and the reason. An adapter has both flags of what it is."""

    weights: WeightSet | None
    adapter: bool = False
    reason: str | None = None


def weight_sets(paths: Iterable[str]) -> list[WeightSet]:
    """All sets of safetensors weights, best candidates for `the model` first; trainer states are left out."""
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name.endswith((".safetensors", INDEX_SUFFIX)) and not _TRAINER.match(name):
            folders[folder].add(name)
    sets = [found for folder, names in folders.items() for found in _sets_of_folder(folder, names)]
    return sorted(sets, key=lambda s: (s.folder.count("/") + bool(s.folder), s.rank, s.folder, s.stem, s.layout))


def choose(paths: Collection[str]) -> Choice:
    """The one set of weights that is the model."""
    if not any(path.endswith((".safetensors", INDEX_SUFFIX, "adapter_config.json")) for path in paths):
        return Choice(None, reason=no_weights_reason(paths))  # most repositories of the Hub
    sets = weight_sets(paths)
    full = [s for s in sets if not s.adapter]
    root = [s for s in full if not s.folder]
    adapters = [s for s in sets if s.adapter]
    names = {path.rpartition("/")[2] for path in paths}
    if "adapter_config.json" in names and not any(s.rank < len(_MAIN_NAMES) for s in root):
        return Choice(adapters[0] if adapters else None, adapter=True, reason=LOW_RANK)
    for group in (root, full):
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
            return Choice(None, reason=f"several {what}: {shown}{' …' if len(best) > 4 else ''}")
    if adapters:
        return Choice(adapters[0], adapter=True, reason=LOW_RANK)
    return Choice(None, reason=no_weights_reason(paths))


def no_weights_reason(paths: Collection[str]) -> str:
    """Why nothing can be read where there is no safetensors file."""
    pickles = sorted(
        path for path in paths if path.lower().endswith(_PICKLES) and not _TRAINER.match(path.rpartition("/")[2])
    )
    if pickles:
        return f"only pickle weights ({_some(pickles)}), which are never opened"
    others = sorted(path for path in paths if path.lower().endswith(_OTHER_FORMATS))
    if others:
        return f"only weights in formats that are not read ({_some(others)})"
    return "no weight files"


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
    sets = []
    shards: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    singles: set[str] = set()
    for name in sorted(names):
        match = _SHARD.fullmatch(name)
        if match and 0 < int(match["total"]) <= MAX_SHARDS:
            shards[match["stem"] + match["tail"], int(match["total"])].setdefault(int(match["number"]), name)
        elif name.endswith(".safetensors"):
            singles.add(name)
    for (stem, total), numbered in shards.items():
        files = tuple(prefix + numbered[number] for number in sorted(numbered))
        sets.append(WeightSet(folder, stem, Layout.SHARDED, files, missing=max(0, total - len(files))))
    found = {s.stem for s in sets}
    for name in sorted(names - singles):
        stem = name.removesuffix(INDEX_SUFFIX)
        if name.endswith(INDEX_SUFFIX) and stem not in found and f"{stem}.safetensors" not in singles and singles:
            sets.append(WeightSet(folder, stem, Layout.INDEXED, (), index=prefix + name))
    if not any(s.layout is Layout.INDEXED for s in sets):  # an index claims the files beside it
        sets += [
            WeightSet(folder, n.removesuffix(".safetensors"), Layout.SINGLE, (prefix + n,)) for n in sorted(singles)
        ]
    return sets


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (" …" if len(paths) > 3 else "")
