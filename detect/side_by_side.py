"""Pieces of one piece of work, side by side: each piece on a thread of its own, with one thread of torch.

Most of what a family is decided from are short operations on medium tensors, which a second thread of torch hardly speeds up: 1,000
models took 101 s of two processors' time and 57 s of the clock. Layers, runs of pairs and possible roots do not depend on each other,
and torch releases Python's lock while it computes, so two of them at once take half the time and give the same numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lineage.detect.arrays import numpy_computes, torch

_Piece = TypeVar("_Piece")
_Made = TypeVar("_Made")
_thread = threading.local()


def side_by_side(work: Callable[[_Piece], _Made], pieces: Sequence[_Piece], device: str = "cpu") -> list[_Made]:
    """What `work` makes of each piece, in their order.

    As many at once as torch has threads; one after the other by numpy, with one thread, on an accelerator, and of a single piece.

    Args:
        device: type of the device that the pieces' tensors lie on.
    Raises:
        What `work` raises, of the first piece that fails.
    """
    threads = 1 if numpy_computes() or device != "cpu" or len(pieces) < 2 else torch.get_num_threads()
    if threads == 1:
        return [work(piece) for piece in pieces]
    pool = ThreadPoolExecutor(threads, "lineage-work", _alone_on_its_thread)
    try:
        return list(pool.map(work, pieces))
    finally:
        pool.shutdown(cancel_futures=True)  # those not begun, after an error or Ctrl-C
        torch.set_num_threads(threads)  # a worker's number holds for threads that torch sees for the first time


def is_beside_others() -> bool:
    """Whether this thread works on one of several pieces: then one thread of torch is all that there is for it."""
    return getattr(_thread, "beside_others", False)


def _alone_on_its_thread() -> None:
    _thread.beside_others = True
    torch.set_num_threads(1)
