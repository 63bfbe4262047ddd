"""Names of models on disk, which are whole paths, as people read them: relative to the folder that all of them lie in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

KEPT_PARTS = 2  # of a name that is alone
LEAST_PARTS = 2  # of a folder that is worth leaving out


@dataclass(frozen=True, slots=True)
class ShortNames:
    """How names and texts about them are shown.

    Attributes:
        folder: what is left out; None where nothing is.
    """

    folder: str | None = None

    def __call__(self, text: str) -> str:
        """A name, or a text in which names occur."""
        return text.replace(f"{self.folder}/", "") if self.folder else text


def shortened(names: Iterable[str]) -> ShortNames:
    """
    Args:
        names: of models of any kind; paths are whole where one without its folder would be the name of another model.
    """
    named = set(names)
    paths = sorted(name for name in named if name.startswith("/"))
    if not paths:
        return ShortNames()
    if len(paths) == 1:
        parts = paths[0].split("/")
        folder = "/".join(parts[: max(len(parts) - KEPT_PARTS, 0)])
    else:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 - text, not files
    ambiguous = any(path.removeprefix(f"{folder}/") in named for path in paths)
    return ShortNames(folder) if folder.count("/") >= LEAST_PARTS and not ambiguous else ShortNames()
