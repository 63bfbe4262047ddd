"""`--ray` and what goes with it: detection by tasks on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lineage.deciding import Engine
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import SketchStore


@dataclass(frozen=True, slots=True)
class RayChoice:
    """What was asked for; address: None where this process decides by itself."""

    address: str | None
    gpus: float
    seconds: float | None
    memory_gb: float | None


def ray_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--ray`, `--gpus-per-task`, `--seconds-per-task` and `--memory-per-task`. The command gets them together as `ray`."""

    def together(*args: Any, ray: str | None, **options: Any) -> Any:
        choice = RayChoice(
            ray, options.pop("gpus_per_task"), options.pop("seconds_per_task"), options.pop("memory_per_task")
        )
        alone = [
            name
            for name, value in (("gpus", choice.gpus), ("seconds", choice.seconds), ("memory", choice.memory_gb))
            if value
        ]
        if ray is None and alone:
            raise click.UsageError(f"--{alone[0]}-per-task goes with --ray")
        return command(*args, ray=choice, **options)

    together.__doc__, together.__name__ = command.__doc__, command.__name__
    together.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Callable[..., Any] = together
    for option in (
        click.option(
            "--memory-per-task",
            type=click.FloatRange(0, min_open=True),
            metavar="GB",
            help="Memory that each task of --ray asks its node for.",
        ),
        click.option(
            "--seconds-per-task",
            type=click.FloatRange(0, min_open=True),
            metavar="S",
            help="Give up a group of --ray that takes longer; it is named and tried again next time.",
        ),
        click.option(
            "--gpus-per-task",
            type=click.FloatRange(0),
            default=0.0,
            metavar="SHARE",
            help="Share of a GPU for each task of --ray, such as 0.25.",
        ),
        click.option(
            "--ray",
            metavar="ADDRESS|local",
            envvar="LINEAGE_RAY",
            help="Compare groups by tasks on the Ray cluster at ADDRESS, or on all processors here [env LINEAGE_RAY].",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


@contextmanager
def engine_for(
    choice: RayChoice, sketches: SketchStore, options: Options, device: str | None = None
) -> Iterator[Engine | None]:
    """What decides; None for this process itself.

    Raises:
        NoRay: it is not installed, or no cluster is at the address.
    """
    if choice.address is None:
        yield None
        return
    from lineage.on_ray import RaySettings, on_ray

    memory = None if choice.memory_gb is None else int(choice.memory_gb * 2**30)
    with on_ray(RaySettings(choice.address, choice.gpus, choice.seconds, memory), sketches, options, device) as engine:
        yield engine
