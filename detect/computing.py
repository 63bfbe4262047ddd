"""Where a piece of work is computed: by numpy, or by torch on a device, and then with how many threads.

On a busy machine threads that spin for each other at every small operation cost many times what they save: one scan of 59 models took 139 s
of processor time with two spinning threads, 10 s with one. So waiting threads sleep (OMP_WAIT_POLICY, read by libgomp when torch is
imported), small work gets one thread, and large work as many as the machine has free. Values of OMP_NUM_THREADS and OMP_WAIT_POLICY
in the environment are kept.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lineage.detect.arrays import by_numpy, is_small
from lineage.detect.methods.registry import PLAIN
from lineage.detect.side_by_side import is_beside_others

if TYPE_CHECKING:
    import torch

    from lineage.detect.options import Options
    from lineage.detect.sketch_file import Sketch

logger = logging.getLogger(__name__)

WORTH_THREADS = 1 << 33  # models times models times values: about a second of one core's products


@contextmanager
def computing(
    sketches: Sequence[Sketch], options: Options, device: str | None = None, *, one_of_many: bool = False
) -> Iterator[torch.device]:
    """The device on which models are compared inside.

    Args:
        sketches: of the models to be compared; device: as torch names it; None: CUDA where there is one, small work excepted.
        one_of_many: torch will be needed by another piece of work, so for a small one too: else its last digits depend on the order.
    """
    models, values = len(sketches), max((sketch.sampled_values for sketch in sketches), default=0)
    small = not one_of_many and options.method == PLAIN and device in (None, "cpu") and is_small(models, values)
    with by_numpy(small):
        from lineage.detect.align import pick_device

        if small:
            logger.info("%d models of up to %s values: computed by numpy, one thread", models, f"{values:,}")
            yield pick_device()
            return
        on = pick_device(device)
        threads = use_threads(models * models * values)
        logger.info("%d models of up to %s values: computed by torch on %s, %s", models, f"{values:,}", on, threads)
        yield on


def use_threads(work: int) -> str:
    """Sets how many threads torch uses for so much work (models times models times values); says what was chosen and why."""
    import torch

    if is_beside_others():
        return "1 thread: other pieces are decided beside it"
    if os.environ.get("OMP_NUM_THREADS"):
        return f"{_count(torch.get_num_threads())} as OMP_NUM_THREADS says"
    allowed = allowed_processors()
    if work < WORTH_THREADS or allowed == 1:
        chosen, why = 1, "small work" if work < WORTH_THREADS else "one processor is allowed"
    else:
        chosen = max(1, min(allowed, free_processors()))
        why = f"{allowed} processors allowed, {free_processors()} of the machine free"
    if chosen != torch.get_num_threads():
        torch.set_num_threads(chosen)
    return f"{_count(chosen)}: {why}"


def allowed_processors() -> int:
    """Those that this process may use: its affinity, and the quota of its control group."""
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return affinity if quota == "max" else max(1, min(affinity, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no control groups of version 2
        return affinity


def free_processors() -> int:
    """Processors of the machine that were idle over the last minute; what this process did in it counts as busy as well."""
    try:
        busy = os.getloadavg()[0]
    except OSError:
        return os.cpu_count() or 1
    return max(0, round((os.cpu_count() or 1) - busy))


def _count(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"
