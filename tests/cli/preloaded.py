"""Imports all of `lineage` that can be imported before a command has its environment: what needs huggingface_hub, which reads variables
when it is imported, is left out."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType

import scipy.sparse  # noqa: F401 - detection imports it when it needs it

import lineage

LATER = "huggingface_hub"


class NotYet:
    """Finds no module, and lets no other finder look for LATER."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name.split(".")[0] == LATER:
            raise ModuleNotFoundError(f"{name} is imported by each command", name=name)


sys.meta_path.insert(0, NotYet)
try:
    for module in pkgutil.walk_packages(lineage.__path__, "lineage."):
        with suppress(ModuleNotFoundError):  # nor are there packages that are an optional extra
            importlib.import_module(module.name)
finally:
    sys.meta_path.remove(NotYet)
