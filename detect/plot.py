"""The evidence of one edge as a picture: per tensor, how much changed, where growth and inheritance lie, with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from lineage.detect.explain import Explanation, LayerEvidence
from lineage.detect.report import verdict_sentence
from lineage.graphdb.schema import Failure, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 60  # tensors whose names are still readable
CHANGE, GROWTH, KEPT, QUIET = "#4c72b0", "#dd8452", "#55a868", "#888888"


class CannotPlot(Failure):
    """The picture cannot be written there."""

    exit_code = 1


def check_target(file: Path) -> None:
    """
    Raises:
        CannotPlot: no picture can be written there; better found out before the work than after it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    known = FigureCanvasAgg.get_supported_filetypes()
    if file.suffix[1:].lower() not in known:
        raise CannotPlot(
            f"cannot draw a {file.suffix or 'file without ending'}", f"endings known: {', '.join(sorted(known))}"
        )
    if not file.absolute().parent.is_dir() or file.is_dir():
        raise CannotPlot(f"cannot write {file}: there is no such folder", "name a file in a folder that exists")


def plot(found: Explanation, file: Path) -> None:
    """
    Args:
        file: its ending is the format: png, svg, pdf, ...
    Raises:
        CannotPlot: no such format, or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    check_target(file)
    layers = found.layers
    panels = 3 if found.since else 2
    figure = Figure(figsize=(4.2 * panels, min(14.0, 2.2 + 0.22 * len(layers))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    place = list(range(len(layers)))
    axes[0].barh(place, [layer.moved for layer in layers], color=CHANGE)
    axes[0].set_xlabel("change: |child - parent| / |parent|")
    axes[0].set_yticks(
        place if len(place) <= NAMED else [], [layer.name for layer in layers] if len(place) <= NAMED else []
    )
    axes[0].set_ylabel("" if len(place) <= NAMED else f"{len(place)} tensors, first to last")
    axes[0].invert_yaxis()
    axes[0].tick_params(axis="y", labelsize=7)
    _with_errors(axes[1], layers, "growth_gamma", "growth_error", GROWTH)
    axes[1].set_xlabel("growth: above 0 the parent came first")
    if found.since:
        _with_errors(axes[2], layers, "slope", "slope_error", KEPT)
        axes[2].set_xlabel(
            f"what the parent learned since {found.names[found.since]}\nand the child still has: 1 is all of it"
        )
    figure.suptitle(fill(verdict_sentence(found), 48 * panels), fontsize=9)
    for text in figure.findobj(Text):  # names are data: `$` opens no formula
        text.set_parse_math(False)
        text.set_text("\n".join(map(printable, text.get_text().split("\n"))))
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise CannotPlot(
            f"cannot write {file}: {error.strerror}", "name a file in a folder that exists and can be written"
        ) from None


def _with_errors(axes: Axes, layers: Sequence[LayerEvidence], value: str, error: str, colour: str) -> None:
    """Points with two standard errors on each side, lines at 0 and 1; tensors without the value are left out. Far points sit on the rim."""
    rows = [
        (i, getattr(layer, value), getattr(layer, error))
        for i, layer in enumerate(layers)
        if getattr(layer, value) is not None
    ]
    if rows:
        place, middle, spread = zip(*rows, strict=True)
        axes.errorbar(
            [min(3.0, max(-2.0, m)) for m in middle],
            place,
            xerr=[2 * s for s in spread],
            fmt="o",
            ms=3,
            lw=1,
            color=colour,
        )
    for line in (0.0, 1.0):
        axes.axvline(line, color=QUIET, lw=0.8, ls=":" if line else "-")
    axes.set_xlim(-2.1, 3.1)
