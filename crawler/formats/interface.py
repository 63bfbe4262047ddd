"""What a format of weight files is: which files of a repository or folder are a model in it, and how its tensors are read.

A new format is one file beside this one with a subclass of `Format`, one entry in `registry.FORMATS`, and one test. Nothing of any
format is ever executed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lineage.crawler.headers import REMOTE_HEADER_LIMIT_BYTES, TensorHeader
from lineage.crawler.selection import Choice, Layout, WeightSet, missing_reason
from lineage.crawler.unread_formats import named_as_another, trainer_state
from lineage.crawler.weights import WeightFile

MAIN_STEMS = ("pytorch_model", "model", "diffusion_pytorch_model")
_SHARD = re.compile(r"(?P<stem>.+?)[-_.](?P<number>\d{1,6})-of-(?P<total>\d{1,6})", re.ASCII)
_NO_MODEL = re.compile(
    r"(optim(izer)?|scheduler|rng_state|random_states|training_args|scaler|trainer_state|spiece|tokenizer|vocab|adapter_model|pytorch_variables"
    r"|.*[._-]lora|lora[._-].*|events|ggml|flax|tf_model)([._-].*)?|embeddings?",
    re.IGNORECASE,
)


class Readable(Protocol):
    """Weights of one model whose header and ranges can be read."""

    @property
    def header(self) -> tuple[TensorHeader, ...]: ...
    def read(self, blocks: Iterable[Any]) -> Iterator[tuple[Any, bytes]]: ...

    @property
    def bases(self) -> Sequence[tuple[str, str | None, str]]:
        """Models that the files themselves name as the origin: name, the relation where it is stated, and the source (see Declaration)."""

    @property
    def quantization(self) -> str | None:
        """How the numbers are packed, where only the format's own reader can see it."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open a model.

    Attributes:
        header_limit_bytes: of one file's header; parallel: how many ranged reads may be under way at once.
        placed: tensor -> its file, from the set's index; called only where a tensor lies in two files.
    """

    header_limit_bytes: int = REMOTE_HEADER_LIMIT_BYTES
    parallel: int = 1
    placed: Callable[[], Mapping[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Companion:
    """Why a file of a format is no model by itself. adapter: it holds a low-rank adapter."""

    reason: str
    adapter: bool = False


class Format(ABC):
    """One format. As it is here, its files are called `NAME.SUFFIX` or `NAME-00001-of-00002.SUFFIX`, one set of them a model.

    Attributes:
        kind: enters the digest of the weights: the same bytes read in another way are other weights.
        suffixes: lower-case ends of its files' names.
        beside: what the names of further files add to that of a model's file: they hold numbers of it.
        folders: where its files lie in a repository; the first folder that has some counts.
        one_each: whether several sets of one folder are several models, each named by its file.
        header_bytes, header_requests: about what reading a header costs, for the plan of a crawl.
    """

    kind: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    beside: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[tuple[str, ...]] = ("",)
    one_each: ClassVar[bool] = False
    header_bytes: ClassVar[int] = 40_000
    header_requests: ClassVar[int] = 1

    @abstractmethod
    def open(self, files: Sequence[WeightFile], how: Opening) -> Readable:
        """Header and ranges of one model. Nothing is read before one of them is asked for."""

    def has(self, name: str) -> bool:
        """Whether a file is of this format, by its name."""
        return name.lower().endswith(self.suffixes)

    def sets(self, paths: Collection[str]) -> list[WeightSet]:
        """Every model among some files, by folder, whole or not. What trainers, tokenizers and adapters leave behind is left out."""
        there = set(paths)
        found = []
        numbered: dict[tuple[str, str, int], dict[int, str]] = defaultdict(dict)
        for path in sorted(there):
            folder, _, name = path.rpartition("/")
            suffix = next((end for end in self.suffixes if name.lower().endswith(end)), None)
            if suffix is None or _NO_MODEL.fullmatch(stem := name[: -len(suffix)]):
                continue
            if named_as_another(name) or trainer_state(name):
                continue
            shard = _SHARD.fullmatch(stem)
            if shard and 0 < int(shard["number"]) <= int(shard["total"]) <= 10_000:
                numbered[folder, shard["stem"], int(shard["total"])].setdefault(int(shard["number"]), path)
            else:
                files = (path, *(path + end for end in self.beside if path + end in there))
                found.append(WeightSet(folder, stem, Layout.SINGLE, files))
        for (folder, stem, total), parts in numbered.items():
            files = tuple(parts[number] for number in sorted(parts))
            found.append(WeightSet(folder, stem, Layout.SHARDED, files, missing=total - len(files)))
        return found

    def choose(self, paths: Collection[str]) -> Choice | None:
        """The model among the files of a repository, or why it cannot be determined; None where there is nothing of this format."""
        sets = self.sets(paths)
        for folder in self.folders:
            here = [found for found in sets if found.folder == folder]
            named = [found for stem in MAIN_STEMS for found in here if found.stem == stem]
            chosen = named[:1] or (here if len(here) == 1 else [])
            if chosen and chosen[0].missing:
                return Choice(None, reason=missing_reason(chosen[0]))
            if chosen:
                return Choice(chosen[0])
            if here:
                shown = ", ".join(sorted(found.files[0] for found in here)[:4])
                more = " …" if len(here) > 4 else ""
                return Choice(None, reason=f"several weight files, none of which is named as the model: {shown}{more}")
        return None

    def quantization(self, file: str) -> str | None:
        """How the numbers are packed, as far as a file's name tells."""
        return None

    def holds_model(self, file: WeightFile) -> bool:
        """Whether a file of this ending on disk holds a model: False only where most files of the ending do not, by a short read."""
        return True

    def companion_rank(self, found: WeightSet) -> int:
        """0 for a model; above it for what by its name goes along with one: 1 where the file has to decide, 2 where it cannot be one."""
        return 0

    def companion(self, files: Sequence[WeightFile]) -> Companion | None:
        """What the files are if not a model, by their header; called where `companion_rank` is above 0."""
        return None
