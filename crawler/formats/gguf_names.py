"""Names of GGUF files -> which of them are one model, how many bits it has, and what merely goes along with a model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_GGUF_TYPE = re.compile(
    r"(?:^|[.\-_])((?:UD-)?(?:I?Q\d(?:_[0-9A-Z]{1,3})*(?:_[SML]|_XL|_XS|_XXS)?|F16|BF16|F32|MXFP4))(?=[.\-_]|$)", re.I
)
_GGUF_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.gguf", re.ASCII | re.I)
_NO_MODEL = re.compile(r"(^|[.\-_])(mmproj|imatrix|lora|vocab)([.\-_]|$)", re.I)
_ORDER = ("F32", "BF16", "F16", "Q8", "Q6", "Q5", "Q4", "Q3", "Q2")  # least is lost first


def gguf_label(path: str) -> str:
    """The quantization that a file's name tells, as `gguf Q4_K_M`."""
    found = _GGUF_TYPE.search(PurePosixPath(path).stem)
    return f"gguf {found[1].upper()}" if found else "gguf"


@dataclass(frozen=True, slots=True)
class GgufSet:
    """The parts of one GGUF model, in order.

    Attributes:
        missing: how many of its parts are not there.
    """

    files: tuple[str, ...]
    missing: int = 0

    @property
    def aside(self) -> int:
        """0 for a model; above it what by its name goes along with one, such as a projector. Its header decides."""
        found = {match[2].lower() for match in _NO_MODEL.finditer(PurePosixPath(self.files[0]).stem)}
        return 2 if found & {"mmproj", "imatrix"} else 1 if found else 0


def is_gguf(path: str) -> bool:
    return path.lower().endswith(".gguf")


def choose_gguf(paths: Iterable[str]) -> tuple[str, ...]:
    """The one GGUF model to read among those of a repository, all its parts: the one with the least loss; empty if none is complete."""

    def rank(found: GgufSet) -> tuple[int, int, int, int, str]:
        first = found.files[0]
        return found.aside, _loss(first), first.count("/"), len(found.files), first

    whole = [found for found in gguf_sets(paths) if not found.missing]
    return min(whole, key=rank).files if whole else ()


def gguf_sets(paths: Iterable[str]) -> list[GgufSet]:
    """Every GGUF model, whole or not."""
    sets: dict[str, dict[int, str]] = {}
    totals: dict[str, int] = {}
    for path in paths:
        if not is_gguf(path):
            continue
        part = _GGUF_PART.fullmatch(path)
        stem, number, total = (part["stem"], int(part["number"]), int(part["total"])) if part else (path, 1, 1)
        if not 1 <= number <= total:
            stem, number, total = path, 1, 1  # numbers that say nothing
        sets.setdefault(f"{stem}/{total}", {})[number] = path
        totals[f"{stem}/{total}"] = total
    found = []
    for stem in sorted(sets):
        files = tuple(sets[stem][number] for number in sorted(sets[stem]))
        found.append(GgufSet(files, max(0, totals[stem] - len(files))))
    return found


def _loss(path: str) -> int:
    kind = gguf_label(path).removeprefix("gguf").strip().removeprefix("UD-")
    return next((place for place, start in enumerate(_ORDER) if kind.startswith(start)), len(_ORDER))
