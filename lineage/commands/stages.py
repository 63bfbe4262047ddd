"""Progress of what takes longer than a second, on a terminal only: a spinner for a stage, a bar over architectures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineage.graphdb.store import Store


@contextmanager
def stage(description: str) -> Iterator[None]:
    """A spinner beside a description, gone when the stage is over; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(description)
        yield


@contextmanager
def comparing(graph: Store, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Callable[[], bool]]:
    """A bar over the architectures that are compared. Gives the function that detection asks before each of them whether to stop."""
    if not sys.stderr.isatty():
        yield should_stop
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    total = sum(1 for _ in graph.signatures())
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("comparing architectures", total=total)
        begun = False

        def asked() -> bool:
            nonlocal begun
            bar.advance(task, 1 if begun else 0)  # asked again: the one before is done
            begun = True
            return should_stop()

        yield asked
