"""Pictures and text that the benches train on.

In: the folder named by LINEAGE_DATASETS, with one folder a set (mnist, fashion-mnist, notmnist, omniglot, cifar10-10k as IDX files,
tinyshakespeare and wikitext2-small as text). Out: pictures as (count, 3 or 1, 16, 16) float32 with labels, text as tokens of a fixed
alphabet of 96 characters. Without the folder the same names are made from what scikit-learn ships (digits, turned and inverted; its data
set descriptions), and `Data.source` says so.
IDX: a four-byte magic (two zeros, type, number of axes), the big-endian sizes, the values.
"""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lineage.graphdb.schema import Failure

VARIABLE = "LINEAGE_DATASETS"
SIDE = 16
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # 96 characters; everything else reads as "?"
CLASSES = 10
_PICTURES = {
    "mnist": ("mnist", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    "fashion": ("fashion-mnist", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    "letters": ("notmnist", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    "omniglot": ("omniglot", "small1-images28-idx3-ubyte.gz", "small1-labels-idx1-ubyte.gz"),
    "cifar": ("cifar10-10k", "train-images-idx4-ubyte.gz", "train-labels-idx1-ubyte.gz"),
}
_TEXTS = {
    "shakespeare": ("tinyshakespeare", "input.txt"),
    "wiki-a": ("wikitext2-small", "test.txt"),
    "wiki-b": ("wikitext2-small", "valid.txt"),
}
PICTURES = tuple(_PICTURES)
TEXTS = tuple(_TEXTS)


class DataMissing(Failure):
    """A data file is not where LINEAGE_DATASETS says, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """images: (count, 1 or 3, 16, 16) float32 between 0 and 1; labels: (count,) int64 from 0 to 9."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Data:
    """Where sets come from; `folder` None means what scikit-learn ships."""

    folder: Path | None
    _kept: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def source(self) -> str:
        return (
            "the sets under LINEAGE_DATASETS"
            if self.folder
            else "scikit-learn's digits and descriptions (no LINEAGE_DATASETS)"
        )

    def pictures(self, name: str) -> Pictures:
        """One of PICTURES.

        Raises: DataMissing: if a file of it is not there or not an IDX file.
        """
        if name not in self._kept:
            self._kept[name] = _digits(PICTURES.index(name)) if self.folder is None else _read_set(self.folder, name)
        kept = self._kept[name]
        assert isinstance(kept, Pictures)
        return kept

    def text(self, name: str) -> torch.Tensor:
        """One of TEXTS as (count,) int64 tokens, indices into ALPHABET.

        Raises: DataMissing: if the file is not there.
        """
        if name not in self._kept:
            self._kept[name] = tokens(
                _descriptions(TEXTS.index(name)) if self.folder is None else _read_text(self.folder, name)
            )
        kept = self._kept[name]
        assert isinstance(kept, torch.Tensor)
        return kept


def from_environment() -> Data:
    """The sets that the variable LINEAGE_DATASETS names, or those of scikit-learn when it is not set.

    Raises: DataMissing: if the variable names something that is not a folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return Data(None)
    if not Path(named).is_dir():
        raise DataMissing(
            f"{VARIABLE} names {named}, which is not a folder",
            "point it at a folder with mnist/, tinyshakespeare/ and the others, or unset it",
        )
    return Data(Path(named))


def tokens(text: str) -> torch.Tensor:
    """Characters to (count,) int64 positions in ALPHABET."""
    table = np.full(256, ALPHABET.index("?"), dtype=np.int64)
    for position, letter in enumerate(ALPHABET):
        table[ord(letter)] = position
    return torch.from_numpy(table[np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)])


def read_idx(path: Path) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes.

    Raises: DataMissing: if it is not there, not gzip, not IDX, or shorter than its own sizes say.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise DataMissing(f"cannot read {path}: {error}", f"put the file there or unset {VARIABLE}") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or len(raw) < 4 + 4 * raw[3]:
        raise DataMissing(f"{path} is not an IDX file of bytes", "fetch the set again")
    shape = tuple(np.frombuffer(raw, dtype=">i4", count=raw[3], offset=4).tolist())
    start = 4 + 4 * raw[3]
    if min(shape, default=0) < 0 or len(raw) - start != int(np.prod(shape)):
        raise DataMissing(f"{path} holds {len(raw) - start} values, its header says {shape}", "fetch the set again")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def _read_set(folder: Path, name: str) -> Pictures:
    sub, images, labels = _PICTURES[name]
    pixels = torch.from_numpy(read_idx(folder / sub / images).copy()).float() / 255
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)  # (count, 1, side, side)
    elif pixels.shape[-1] == 3:
        pixels = pixels.permute(0, 3, 1, 2)  # (count, 3, side, side)
    small = F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", antialias=True).contiguous()
    classes = torch.from_numpy(read_idx(folder / sub / labels).astype(np.int64))
    many = int(classes.max()) + 1  # Omniglot's 136 characters become ten groups of neighbours, mostly of one alphabet
    return Pictures(small, classes * CLASSES // many if many > CLASSES else classes)


def _read_text(folder: Path, name: str) -> str:
    path = folder.joinpath(*_TEXTS[name])
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataMissing(f"cannot read {path}: {error}", f"put the file there or unset {VARIABLE}") from error


@lru_cache(maxsize=1)
def _shipped_digits() -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # (count, 1, 8, 8)
    return F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear"), torch.from_numpy(digits.target.astype(np.int64))


def _digits(number: int) -> Pictures:
    """Five different tasks out of one set: turned by quarters, the last one inverted."""
    images, labels = _shipped_digits()
    turned = images.rot90(number % 4, (2, 3))
    return Pictures((1 - turned if number >= 4 else turned).contiguous(), (labels + 3 * number) % CLASSES)


def _descriptions(number: int) -> str:
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "descr"
    files = sorted(folder.glob("*.rst"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files[number :: len(TEXTS)])
