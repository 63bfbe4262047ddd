"""Which files of a repository or folder are a model in another format than safetensors or GGUF, and how they are read.

A format says which of some paths are its model and gives header and ranges of it, as crawler.weights.Weights has them. Nothing of any
format is ever executed. A new format is one file beside this one and one entry in `FORMATS`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lineage.crawler.formats.onnx_graph import OnnxWeights
from lineage.crawler.formats.torch_zip import TorchWeights
from lineage.crawler.headers import TensorHeader
from lineage.crawler.weights import WeightFile

MAIN_STEMS = ("pytorch_model", "model", "diffusion_pytorch_model")
_SHARD = re.compile(r"(?P<stem>.+?)[-_.](?P<number>\d{1,6})-of-(?P<total>\d{1,6})", re.ASCII)
_NO_MODEL = re.compile(
    r"(optim(izer)?|scheduler|rng_state|random_states|training_args|scaler|trainer_state|spiece|tokenizer|vocab|adapter_model"
    r"|.*[._-]lora|lora[._-].*|events|ggml|flax|tf_model|embeddings?)([._-].*)?",
    re.IGNORECASE,
)


class Readable(Protocol):
    """Weights whose header and ranges can be read."""

    @property
    def header(self) -> tuple[TensorHeader, ...]: ...
    def read(self, blocks: Iterable[Any]) -> Iterator[tuple[Any, bytes]]: ...


@dataclass(frozen=True, slots=True)
class Format:
    """
    Attributes:
        kind: enters the digest of the weights: the same bytes read in another way would be other weights.
        suffixes: lower-case ends of its files' names.
        folders: where its files lie in a repository, the first that has some counts.
        exact: never a copy in fewer bits, so that it comes before GGUF files.
        beside: ends of further files that hold numbers of a model, put after its suffix.
    """

    kind: str
    suffixes: tuple[str, ...]
    open: Callable[[Sequence[WeightFile]], Readable]
    folders: tuple[str, ...] = ("",)
    beside: tuple[str, ...] = ()
    exact: bool = True


FORMATS = (
    Format("torch", (".bin", ".pt", ".pth"), TorchWeights),
    Format("onnx", (".onnx",), OnnxWeights, ("", "onnx"), ("_data", ".data"), exact=False),
)


@dataclass(frozen=True, slots=True)
class OtherFiles:
    """Files of one model in one of `FORMATS`. missing: how many of its numbered files are not there."""

    format: Format
    files: tuple[str, ...]
    missing: int = 0

    @property
    def stem(self) -> str:
        name = self.files[0].rpartition("/")[2]
        stem = name[: name.rindex(".")] if "." in name else name
        numbered = _SHARD.fullmatch(stem)
        return numbered["stem"] if numbered else stem


def format_of(name: str) -> Format | None:
    """The format of a file by its name; None for others than those listed here."""
    return next((form for form in FORMATS if name.lower().endswith(form.suffixes)), None)


def other_sets(paths: Collection[str]) -> list[OtherFiles]:
    """Every model in another format, by folder; what trainers, tokenizers and adapters leave behind is none."""
    there = set(paths)
    found = []
    for form in FORMATS:
        numbered: dict[tuple[str, str, int], dict[int, str]] = defaultdict(dict)
        for path in sorted(there):
            folder, _, name = path.rpartition("/")
            suffix = next((end for end in form.suffixes if name.lower().endswith(end)), None)
            if suffix is None or _NO_MODEL.fullmatch(name[: -len(suffix)]):
                continue
            shard = _SHARD.fullmatch(name[: -len(suffix)])
            if shard and 0 < int(shard["number"]) <= int(shard["total"]) <= 10_000:
                numbered[folder, shard["stem"], int(shard["total"])].setdefault(int(shard["number"]), path)
            else:
                found.append(OtherFiles(form, (path, *(path + end for end in form.beside if path + end in there))))
        for (_, _, total), files in numbered.items():
            found.append(OtherFiles(form, tuple(files[n] for n in sorted(files)), total - len(files)))
    return found


def choose_other(paths: Collection[str]) -> OtherFiles | str | None:
    """The model among the files of a repository, the reason why it cannot be told, or None where there is none."""
    sets = other_sets(paths)
    for form in FORMATS:
        for folder in form.folders:
            here = [s for s in sets if s.format is form and s.files[0].rpartition("/")[0] == folder]
            named = [s for stem in MAIN_STEMS for s in here if s.stem == stem]
            chosen = named[:1] or (here if len(here) == 1 else [])
            if chosen and chosen[0].missing:
                total = chosen[0].missing + len(chosen[0].files)
                return f"{chosen[0].missing} of its {total} weight files are missing"
            if chosen:
                return chosen[0]
            if here:
                shown = ", ".join(sorted(s.files[0] for s in here)[:4])
                return (
                    f"several weight files, none of which is named as the model: {shown}{' …' if len(here) > 4 else ''}"
                )
    return None
