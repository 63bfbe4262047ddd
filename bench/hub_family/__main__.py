"""`python -m bench.hub_family OUT`: build the families with the libraries of the Hub, one after the other. What is built is kept."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from lineage.graphdb.schema import Failure

QUICK_STEPS = 4


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--only", "only", multiple=True, help="A family (llama-a) or an architecture (llama); may be repeated.")
@click.option("--quick", is_flag=True, help="A few members and steps of each family, to try the code.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of torch.")
def main(out: Path, only: tuple[str, ...], quick: bool, threads: int) -> None:
    """Train families of small models with the recipes of the Hub and write them with their lineage.

    Example: LINEAGE_DATASETS=datasets python -m bench.hub_family hub_family --only llama
    """
    import torch

    try:
        from bench.hub_family.build import build, built, combine
        from bench.hub_family.description import shortened
        from bench.hub_family.plan import catalogue
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed\ntry: pip install -e '.[hub-family]'", file=sys.stderr)
        raise SystemExit(2) from error
    torch.set_num_threads(threads)
    families = [f for f in catalogue() if not only or f.name in only or f.architecture in only]
    if not families:
        raise click.UsageError(f"no family is named {', '.join(only)}")
    out.mkdir(parents=True, exist_ok=True)
    for family in [shortened(f, QUICK_STEPS) for f in families] if quick else families:
        if built(out / family.name, family):
            continue
        began = time.monotonic()
        try:
            folder = build(family, out)
            halves = [out / f"{family.architecture}-{half}" for half in "ab"]
            if all((half / "truth.json").is_file() for half in halves):
                combine(halves, out / f"{family.architecture}-mixed", family.architecture)
        except Failure as failure:
            print(f"{failure.message}\ntry: {failure.try_next}", file=sys.stderr)
            raise SystemExit(failure.exit_code) from failure
        row = summary(folder, time.monotonic() - began)
        print(row, flush=True)
        with (out / "STATUS.txt").open("a") as status:
            status.write(row + "\n")


def summary(folder: Path, seconds: float) -> str:
    """One line of counts for a family."""
    data = json.loads((folder / "truth.json").read_text())
    moved = sorted(pair["moved"] for pair in data["pairs"])
    base = data["models"][0]
    return (
        f"{data['family']} ({data['split']}): {len(data['models'])} models, {len(data['pairs'])} pairs, {len(data['roots'])} roots, "
        f"{base['values']} values; base loss {base['loss_before']:.2f} to {base['loss']:.2f}; moved {moved[0]:.4f} to {moved[-1]:.2f}, "
        f"median {moved[len(moved) // 2]:.3f}; {len(data['duplicates'])} groups of equal files; {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
