"""Which library computes: torch, or numpy for work so small that importing torch would take longer than the work.

Importing torch takes two seconds and 600 MB; a pair of models is compared in a tenth of that. So the modules of detection take `torch`
and `Tensor` from here: the same functions, by torch outside of `by_numpy` and by numpy (small_arrays.py) inside. Torch is imported when
the first of its functions is asked for. Answers agree to more digits than are shown (tests/detect/test_small_arrays.py).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from lineage.graphdb.schema import Failure

logger = logging.getLogger(__name__)

# models times models times values: what numpy does in about the time that torch takes to be imported
SMALL_WORK = 1 << 25
SMALL_MODELS = 16

_small: ContextVar[bool] = ContextVar("_small", default=False)
_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

if TYPE_CHECKING:
    import torch as torch
    from torch import Tensor as Tensor
else:

    class _Library:
        """Attributes of the library that computes here."""

        def __getattr__(self, name: str) -> Any:
            return getattr(_numpy() if _small.get() else _torch(), name)

    torch = _Library()
    Tensor = Any


def is_small(models: int, values: int) -> bool:
    """Whether numpy compares these models sooner than torch, its import included; never where torch is imported already."""
    return models <= SMALL_MODELS and models * models * values <= SMALL_WORK and "torch" not in sys.modules


@contextmanager
def by_numpy(wanted: bool = True) -> Iterator[None]:
    """Inside, and in this thread alone, numpy computes. Tensors made inside are used inside."""
    if not wanted:
        yield
        return
    import numpy as np
    from threadpoolctl import threadpool_limits

    before = _small.set(True)
    try:
        # one thread: two would spin for each other at every small product; and torch does not warn of 0 / 0 either
        with threadpool_limits(1, "blas"), np.errstate(all="ignore"):
            yield
    finally:
        _small.reset(before)


def numpy_computes() -> bool:
    """Whether this is inside `by_numpy`."""
    return _small.get()


def cached(make: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """`functools.cache` for what holds tensors: one result for each library."""
    made = {True: cache(make), False: cache(make)}

    def found(*args: _Given.args, **named: _Given.kwargs) -> _Made:
        return made[_small.get()](*args, **named)  # type: ignore[arg-type]

    return found


@cache
def _numpy() -> Any:
    from lineage.detect import small_arrays

    return small_arrays


class NoTorch(Failure):
    """An installation without torch, which is enough for a few small models only."""


@cache
def _torch() -> Any:
    if "torch" not in sys.modules:
        logger.debug("importing torch")
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # waiting threads sleep, see computing.py
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise NoTorch(
            "torch is not installed, and this needs it", "pip install torch; its CPU builds are enough"
        ) from None

    return torch
