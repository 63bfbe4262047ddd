"""Which model a model was trained from, from the weights themselves.

    import lineage

    found = lineage.detect({"base": tensors, "child": other_tensors})
    found["child"].parent, found["child"].probability

`detect`, `scan`, `explain` and `open_graph` are described in docs/python.md. Importing this loads nothing heavy: torch is loaded
when something is compared.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lineage.version import __version__

if TYPE_CHECKING:
    from lineage.answer import Answer as Answer
    from lineage.answer import Parent as Parent
    from lineage.api import Graph as Graph
    from lineage.api import detect as detect
    from lineage.api import explain as explain
    from lineage.api import open_graph as open_graph
    from lineage.api import scan as scan
    from lineage.family import Family as Family
    from lineage.graphdb.schema import Failure as Failure

__all__ = ["Answer", "Failure", "Family", "Graph", "Parent", "__version__", "detect", "explain", "open_graph", "scan"]

_WHERE = {
    "Answer": "lineage.answer",
    "Parent": "lineage.answer",
    "Family": "lineage.family",
    "Failure": "lineage.graphdb.schema",
    "Graph": "lineage.api",
    "explain": "lineage.api",
    "open_graph": "lineage.api",
    "scan": "lineage.api",
}


class _CallablePackage(ModuleType):
    """`lineage.detect` is both: the package of detection, and the function `lineage.api.detect` when it is called."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from lineage.api import detect

        return detect(*args, **options)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'lineage' has no attribute {name!r}")
    found = getattr(import_module(_WHERE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


import_module("lineage.detect").__class__ = _CallablePackage  # the package has to be there to be made callable
