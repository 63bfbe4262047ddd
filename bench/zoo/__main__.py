"""`python -m bench.zoo --out FOLDER`: build the zoo, family by family, in several processes. What is there already is not built again."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import click

from lineage.graphdb.schema import Failure

ARCHITECTURES = ("fc", "conv-bn", "resnet", "mobile", "vit", "gpt", "llama", "lstm")


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder that gets one folder a family.",
)
@click.option(
    "--models",
    type=click.IntRange(min=1),
    help="Stop after the families that hold so many models; default is all of them.",
)
@click.option(
    "--only", "only", type=click.Choice(ARCHITECTURES), multiple=True, help="Only this architecture; may be repeated."
)
@click.option("--family", "names", multiple=True, help="Only the family of this name; may be repeated.")
@click.option("--split", type=click.Choice(("tune", "report")), help="Only this half of the configurations.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=lambda: os.cpu_count() or 1, help="Families built at the same time."
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto: cuda where there is one.")
def main(
    out: Path,
    models: int | None,
    only: tuple[str, ...],
    names: tuple[str, ...],
    split: str | None,
    jobs: int,
    device: str,
) -> None:
    """Train families of small models with known lineage.

    Example: LINEAGE_DATASETS=datasets python -m bench.zoo --out zoo --models 300 --split tune
    """
    import torch

    from bench.datasets import from_environment
    from bench.zoo.build import built, make
    from bench.zoo.plan import catalogue, first_models
    from bench.zoo.summary import print_summary

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    families = [
        f
        for f in catalogue()
        if (not only or f.architecture in only) and (not split or f.split == split) and (not names or f.name in names)
    ]
    families = first_models(families, models) if models else families
    due = [f for f in families if not built(out / f.name, f.fingerprint)]
    try:
        data = from_environment()
    except Failure as failure:
        print(f"{failure.message}\ntry: {failure.try_next}", file=sys.stderr)
        raise SystemExit(failure.exit_code) from failure
    total = sum(f.count for f in due)
    print(
        f"{len(families)} families, {sum(f.count for f in families)} models; to build {len(due)}, {total} on {device}; data: {data.source}",
        file=sys.stderr,
    )
    started, made = time.monotonic(), 0
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(make, f, out, device): f for f in due}
        for future in as_completed(waiting):
            family = waiting[future]
            seconds = future.result()
            made += family.count
            gone = time.monotonic() - started
            left = gone / made * (total - made)
            print(
                f"{family.name}: {family.count} models in {seconds:.0f} s; {made} of {total}, {left / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )
    print_summary(out)


if __name__ == "__main__":
    main()
