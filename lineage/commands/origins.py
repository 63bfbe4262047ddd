"""`lineage origins`: which of several models each block of a model came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.options import endpoint_option
from lineage.graphdb.schema import chance, counted, home_path, printable

if TYPE_CHECKING:
    from lineage.crawler.open_model import OpenModel
    from lineage.detect.origins import Origin, Parts

DIRECTION = "this shows what is shared, not which model came first: `lineage explain` weighs that"


@click.command()
@click.argument("model")
@click.argument("candidates", nargs=-1, required=True)
@endpoint_option
@click.option(
    "--threshold",
    type=click.FloatRange(0.5, 1.0),
    default=0.8,
    show_default=True,
    help="Minimum probability for an origin.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def origins(model: str, candidates: Sequence[str], endpoint: str | None, threshold: float, json_wanted: bool) -> None:
    """For each block of MODEL, which of the CANDIDATES it came from: for networks that were put together from several.

    Each is a repository, folder or file; a folder of several models means all of them. Blocks are found by how they are built,
    so prefixes and places may differ. That MODEL is later than the candidates is taken for granted: `lineage explain` weighs
    which of two models came first. A block that comes from none of them is reported as such, and so is an undecided one;
    the exit code is 3 where all are undecided.

    \b
    lineage origins ./hybrid ./parts
    lineage origins ./hybrid.safetensors ./one.safetensors ./other.safetensors --json
    """
    from lineage.detect.origins import origins as origins_of
    from lineage.reading import hub_at

    opened = next(_opened(model, lambda: hub_at(endpoint), several=False))
    others = [
        (name, found)
        for wanted in candidates
        for name, found in _named(wanted, lambda: hub_at(endpoint))
        if wanted != model
    ]
    labels = short_names([name for name, _ in others])
    found = origins_of(
        _parts(model, opened[1]), [_parts(n, one) for n, (_, one) in zip(labels, others, strict=True)], threshold
    )
    click.echo(
        json.dumps(as_json(model, labels, found), indent=1)
        if json_wanted
        else "\n".join(map(printable, as_table(found)))
    )
    if all(str(origin.outcome) == "undecided" for origin in found):
        raise click.exceptions.Exit(3)


def short_names(names: Sequence[str]) -> list[str]:
    """What to call candidates: the last part of a path where that tells them apart, else as they were typed.

    Raises:
        click.UsageError: two have one name.
    """
    short = [Path(n).name.removesuffix(".safetensors") if home_path(n).exists() else n for n in names]
    found = short if len(set(short)) == len(short) else list(names)
    if len(set(found)) < len(found):
        raise click.UsageError("two candidates have one name; give their paths")
    return found


def _named(wanted: str, hub: Any) -> Iterator[tuple[str, OpenModel]]:
    yield from _opened(wanted, hub, several=True)


def _opened(name: str, hub: Any, several: bool) -> Iterator[tuple[str, OpenModel]]:
    """One model, or all that lie in a folder, with what to call them."""
    from lineage.crawler.folder import local_models
    from lineage.crawler.open_model import open_model

    path = home_path(name)
    found = [m for m in local_models(path) if m.files] if several and path.is_dir() else []
    if len(found) > 1:
        for one in found:
            yield one.id, open_model(str(one.path), hub)
    else:
        yield name, open_model(name, hub)


def _parts(name: str, opened: OpenModel) -> Parts:
    """
    Raises:
        NotFinite: a value is NaN or infinite. Failure: what opening and reading raises.
    """
    import torch

    from lineage.detect.decode import decode
    from lineage.detect.origins import parts_of, plan_rows
    from lineage.detect.sketch_store import NotFinite

    dtypes = {tensor.name: tensor.dtype for tensor in opened.header}
    read = {}
    for block, raw in opened.read(plan_rows(opened.header)):
        values = torch.from_numpy(decode(raw, dtypes[block.tensor]).copy()).float()
        if not bool(values.isfinite().all()):
            raise NotFinite(block.tensor)
        read[block.tensor] = values
    return parts_of(name, opened.header, read)


def as_json(model: str, candidates: Sequence[str], found: Sequence[Origin]) -> dict[str, Any]:
    """What `lineage origins --json` prints; keys are only ever added."""
    return {
        "model": model,
        "candidates": list(candidates),
        "blocks": [
            {
                "block": o.block,
                "outcome": str(o.outcome),
                "probability": round(o.probability, 4),
                "origin": o.model,
                "origin_block": o.origin_block,
                "candidates": [
                    {"model": c.model, "block": c.block, "probability": c.probability} for c in o.candidates
                ],
                "relative_distance": round(o.distance, 6),
                "related": None if o.related != o.related else round(o.related, 4),
                "values_compared": o.values,
            }
            for o in found
        ],
    }


def as_table(found: Sequence[Origin]) -> list[str]:
    """A line a block, then how many there are of each answer."""
    head = ("block", "shared with", "probability", "distance", "related")
    rows = [head, *(_row(origin) for origin in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts: dict[str, int] = {}
    for o in found:
        counts[o.model or f"({o.outcome})"] = counts.get(o.model or f"({o.outcome})", 0) + 1
    listed = ", ".join(
        f"{name} {number}" for name, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    summary = f"{counted(len(found), 'block')}: {listed}"
    return [*lines, "", summary, *([DIRECTION] if any(o.model for o in found) else [])]


def _row(origin: Origin) -> tuple[str, str, str, str, str]:
    related = "" if origin.related != origin.related else f"{origin.related:.2f}"
    return origin.block, _told(origin), chance(origin.probability), f"{origin.distance:.3f}", related


def _told(origin: Origin) -> str:
    if origin.model is not None:
        moved = f" ({origin.origin_block})" if origin.origin_block != origin.block else ""
        return f"{origin.model}{moved}"
    if str(origin.outcome) == "none":
        return "none of them"
    best = " or ".join(c.model for c in origin.candidates[:2])
    return f"cannot tell{': ' + best if best else ''}"
