"""The list of formats, and what follows from it: the format of a file, and the model among the files of a repository."""

from __future__ import annotations

from collections.abc import Collection

from lineage.crawler.formats.gguf import Gguf
from lineage.crawler.formats.interface import Format
from lineage.crawler.formats.onnx_graph import Onnx
from lineage.crawler.formats.safetensors import Safetensors
from lineage.crawler.formats.torch_zip import TorchZip
from lineage.crawler.formats.zip_archive import ZipArchive
from lineage.crawler.selection import Choice, Layout, WeightSet, no_weights_reason

SAFETENSORS, TORCH = Safetensors(), TorchZip()
TORCH_ADAPTER = "adapter_model.bin"
FORMATS: tuple[Format, ...] = (
    SAFETENSORS,
    TORCH,
    Gguf(),
    Onnx(),
    ZipArchive(),
)  # where a model is there in several, the first is read
WEIGHT_SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)
READ_SUFFIXES = (
    *WEIGHT_SUFFIXES,
    *(suffix + end for form in FORMATS for suffix in form.suffixes for end in form.beside),
)


def format_of(name: str) -> Format | None:
    """The format of a file by its name; None for a format that is not read."""
    return next((form for form in FORMATS if form.has(name)), None)


def choose_model(paths: Collection[str]) -> tuple[Format, Choice]:
    """The model among the files of a repository and its format; a choice without weights gives the reason."""
    reason: tuple[Format, Choice] | None = None
    for form in FORMATS:
        choice = form.choose(paths)
        if choice is None:
            continue
        if choice.adapter and choice.weights is None and not choice.several:
            return _torch_adapter(paths) or (form, choice)
        if choice.weights is not None or choice.adapter or choice.several:
            return form, choice
        reason = reason or (form, choice)
    return reason or (SAFETENSORS, Choice(None, reason=no_weights_reason(paths)))


def _torch_adapter(paths: Collection[str]) -> tuple[Format, Choice] | None:
    """An adapter that peft saved by PyTorch, as it did at first."""
    found = min(
        (p for p in paths if p.rpartition("/")[2] == TORCH_ADAPTER), key=lambda p: (p.count("/"), p), default=None
    )
    if found is None:
        return None
    weights = WeightSet(found.rpartition("/")[0], TORCH_ADAPTER.partition(".")[0], Layout.SINGLE, (found,))
    return TORCH, Choice(weights, adapter=True)
