"""Groups decided by tasks on a Ray cluster, or on the processors of this machine: a task a group, samples read by the workers themselves.

Only decisions come back, and this process alone writes them. A task whose worker or node dies is repeated elsewhere; one that keeps dying,
runs out of memory or exceeds its time is given up and reported by name. The number and order of workers change nothing in the answers.
A group with too many models for all pairs is divided by one task, and each of its families is a task of its own.
Source: https://docs.ray.io/en/latest/ray-core/tasks.html and its page on fault tolerance.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from lineage.deciding import LARGE_GROUP, GroupAnswer, GroupTask, NotDecided, decide_models
from lineage.detect.methods.registry import PLAIN
from lineage.graphdb.schema import Failure
from lineage.large_deciding import DividedGroup, LargeFamily, decide_family, divided
from lineage.version import __version__

if TYPE_CHECKING:
    from lineage.architecture import ArchitectureModels
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import SketchStore

logger = logging.getLogger(__name__)

LOCAL_RAY = "local"
RETRIES = 3  # of a task whose worker or node died
WAITING = 2  # tasks made for each processor of the cluster: one that runs and one that may begin
LOOK_EVERY_SECONDS = 1.0
CONNECT_SECONDS = 10.0
AGAIN_SECONDS = 1.0  # after a time limit that the code which was running did not let through
_UNSEEN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}


class NoRay(Failure):
    """Ray is not installed, or there is no cluster at the address."""


class WorkersDiffer(Failure):
    """Workers that have another version of lineage would give other answers."""


class _Overdue(Exception):
    """A task that took longer than it may."""


@dataclass(frozen=True, slots=True)
class RaySettings:
    """
    Attributes:
        address: of a cluster, as `ray.init` takes it, or LOCAL_RAY for workers of this machine alone.
        gpus_per_task: share of a GPU that each task takes; 0: tasks run on processors.
        seconds_per_task: None: as long as it takes. memory_per_task: bytes that a task asks its node for; None: not asked.
        large_group: models from which on a group is divided into families, a task each.
    """

    address: str
    gpus_per_task: float = 0.0
    seconds_per_task: float | None = None
    memory_per_task: int | None = None
    retries: int = RETRIES
    large_group: int = LARGE_GROUP


@dataclass(frozen=True, slots=True)
class _TaskInputs:
    """What a worker needs beside the group; the same for all tasks of a run, put into the object store once."""

    version: str
    sketches: str
    options: Options
    device: str | None
    seconds: float | None
    gpus: float


@dataclass(slots=True)
class _Parts:
    """A large group under way. sizes: see `GroupAnswer`; left: families that have not been decided yet; said: what the others say."""

    readable: frozenset[str]
    sizes: tuple[str, ...]
    left: int
    said: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class OnRay:
    """The engine, while it is connected; see `on_ray`.

    Attributes:
        shared: the reference to what all tasks need; options: of remote functions; slots: how many tasks are made at a time.
        running: the tasks that are under way, by their reference, with the large group that they are a family of.
    """

    settings: RaySettings
    shared: Any
    options: Mapping[str, Any]
    slots: int
    running: dict[Any, tuple[GroupTask, _Parts | None]] = field(default_factory=dict)

    def decide(self, tasks: Iterable[GroupTask]) -> Iterator[tuple[GroupTask, GroupAnswer | NotDecided]]:
        """Answers in the order in which groups end. No task is left when the caller stops or is interrupted."""
        import ray

        source, more = iter(tasks), True
        families: deque[tuple[GroupTask, _Parts, Any]] = deque()
        group: Any = ray.remote(_group_in_worker).options(**self.options)
        family: Any = ray.remote(_family_in_worker).options(**self.options)
        try:
            while more or families or self.running:
                while (more or families) and len(self.running) < self.slots:
                    if families:
                        task, parts, some = families.popleft()
                        reference = family.remote(self.shared, some, _only(task))
                        self.running[reference] = (task, parts)
                    elif (task := next(source, None)) is None:  # type: ignore[assignment]
                        more = False
                    else:
                        large = len(task.known.models) >= self.settings.large_group
                        reference = group.remote(self.shared, task.known, task.key, task.keys, large)
                        self.running[reference] = (task, None)
                ended, _ = ray.wait(list(self.running), timeout=LOOK_EVERY_SECONDS) if self.running else ([], [])
                for reference in ended:
                    if reference not in self.running:  # of a group that was given up
                        continue
                    task, own = self.running.pop(reference)
                    found = self._result(reference, task)
                    if isinstance(found, DividedGroup):
                        parts = _Parts(found.readable, found.sizes, len(found.families))
                        families.extend((task, parts, some) for some in found.families)
                        found = GroupAnswer(found.readable, [], found.sizes) if not found.families else None
                    elif isinstance(found, list) and own is not None:
                        own.said += found
                        own.left -= 1
                        found = None if own.left else GroupAnswer(own.readable, own.said, own.sizes)
                    elif isinstance(found, NotDecided) and own is not None:
                        self._give_up(own)
                        families = deque(one for one in families if one[1] is not own)
                    if found is not None:
                        logger.info("group %d: %s", task.place, task.name)
                        yield task, found
        finally:
            self.cancel()

    def _give_up(self, parts: _Parts) -> None:
        """Ends the other families of a group."""
        import ray

        for reference in [one for one, (_, own) in self.running.items() if own is parts]:
            ray.cancel(reference, force=True)
            del self.running[reference]

    def cancel(self) -> None:
        """Ends the tasks that are under way."""
        import ray

        for reference in self.running:
            ray.cancel(reference, force=True)
        self.running.clear()

    def _result(self, reference: Any, task: GroupTask) -> Any:
        import ray
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

        try:
            found = ray.get(reference)
        except OutOfMemoryError:
            why = "ran out of memory on every node that tried"
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, _Overdue):
                why = f"took longer than {self.settings.seconds_per_task:g} s"
            elif isinstance(cause, MemoryError):
                why = "ran out of memory"
            elif isinstance(cause, OSError):
                why = f"could not read its samples: {cause.strerror or cause}"
            else:
                raise  # a mistake of ours: keep its traceback
        except RayError as error:  # its worker or its node died, again and again
            logger.debug("%s", error)
            why = f"lost its worker {self.settings.retries + 1} times"
        else:
            if not isinstance(found, tuple):
                return found
            message, try_next, differs = found
            raise (WorkersDiffer if differs else Failure)(message, try_next)
        return NotDecided(f"not decided, {why}: {task.name}; the next run tries it again")


@contextmanager
def on_ray(
    settings: RaySettings, sketches: SketchStore, options: Options, device: str | None = None
) -> Iterator[OnRay]:
    """The engine for `detect_into`. A cluster of this machine's own is ended with it; one at an address is left as it is.

    Raises:
        NoRay: it is not installed, or nothing answers at the address.
    """
    for name, value in _UNSEEN.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise NoRay(
            "Ray is not installed", "pip install 'model-lineage[ray]', or leave --ray out: one process then does it all"
        ) from None
    from lineage.detect.computing import allowed_processors

    local = settings.address == LOCAL_RAY
    where: dict[str, Any] = {"address": settings.address}
    if local:
        where |= {"num_cpus": allowed_processors(), "include_dashboard": False}
    _check_reachable(settings.address)
    for tries_left in (1, 0) if local else (0,):
        try:
            ray.init(**where, logging_level=logging.ERROR, log_to_driver=logger.isEnabledFor(logging.DEBUG))
            break
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            ray.shutdown()
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            if local and not tries_left:  # it waits for 30 s for its own processes, which is short on a busy machine
                raise NoRay(f"Ray did not start here: {first}", "run it again when the machine is less busy") from None
            if not local:
                why = f"no Ray cluster at {settings.address}: {first}"
                raise NoRay(why, "`ray status` shows whether it runs") from None
    try:
        processors = int(ray.cluster_resources().get("CPU", 1)) or 1
        shared = ray.put(
            _TaskInputs(
                __version__,
                sketches.address if "://" in sketches.address else str(Path(sketches.address).absolute()),
                options,
                device,
                settings.seconds_per_task,
                settings.gpus_per_task,
            )
        )
        of_tasks = {
            "num_cpus": 1,
            "num_gpus": settings.gpus_per_task or None,
            "memory": settings.memory_per_task,
            "max_retries": settings.retries,
            "retry_exceptions": [OSError],
        }
        logger.info("Ray at %s: %d processors", settings.address, processors)
        with _raising_on_sigterm():
            yield OnRay(settings, shared, of_tasks, WAITING * processors)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself asks an address for minutes before it gives up."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise NoRay(f"no Ray cluster at {address}: {why}", "`ray status` shows whether it runs") from None


def _group_in_worker(work: _TaskInputs, known: ArchitectureModels, key: str, keys: tuple[str, ...], large: bool) -> Any:
    """A GroupAnswer; a DividedGroup of a large one; or the words of a failure, whose class need not exist where they are read."""

    def decided() -> Any:
        sketches = _store(work.sketches)
        if large and work.options.method == PLAIN:
            return divided(known, key, key if len(keys) == 1 else None, sketches, work.options, work.device)
        return decide_models(known, key, keys, sketches, work.options, work.device)

    return _in_worker(work, decided)


def _family_in_worker(work: _TaskInputs, family: LargeFamily, only: str | None) -> Any:
    """Decisions about one family of a large group; or the words of a failure."""
    return _in_worker(work, lambda: decide_family(family, only, _store(work.sketches), work.options, work.device))


def _only(task: GroupTask) -> str | None:
    return task.key if len(task.keys) == 1 else None


def _in_worker(work: _TaskInputs, decided: Callable[[], Any]) -> Any:
    if work.version != __version__:
        what = f"workers have lineage {__version__}, this is {work.version}"
        return what, "give all nodes the same image", True
    if work.gpus:
        _take_share_of_gpu(work.gpus)
    try:
        with _within(work.seconds):
            return decided()
    except Failure as failure:
        return failure.message, failure.try_next, False


@cache
def _store(address: str) -> SketchStore:
    """A worker's own, kept between its tasks."""
    from lineage.detect.sketch_store import SketchStore

    return SketchStore(address)


def _take_share_of_gpu(share: float) -> None:
    """A task may not take memory that is meant for others on its GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))


@contextmanager
def _within(seconds: float | None) -> Iterator[None]:
    """
    Raises _Overdue inside once the time is over; as soon as Python is asked, so products of matrices end first. Where the
    code that was running kept the exception to itself, it is raised a second later again, and at the end.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    late = False

    def overdue(_: int, __: FrameType | None) -> None:
        nonlocal late
        late = True
        raise _Overdue

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
        if late:
            raise _Overdue
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _raising_on_sigterm() -> Iterator[None]:
    """`kill` ends a run as Ctrl-C does, tasks included; a handler that was set before counts."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) not in (
        signal.SIG_DFL,
        None,
    ):
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
