"""The evidence of one edge as a picture: per tensor, how much changed, where growth and inheritance lie, with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from lineage.detect.explain import Explanation, LayerEvidence
from lineage.detect.report import inheritance_known, verdict_sentence
from lineage.graphdb.schema import Failure, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 60  # tensors whose names are still readable
LABEL_CHARACTERS = 44
CHANGE, FOR, AGAINST, QUIET = "#4c72b0", "#2e8b57", "#c44e52", "#888888"
FAR = (-2.0, 3.0)  # beyond these points lie on the rim
HALF_KEPT = 0.5


@dataclass(frozen=True, slots=True)
class Point:
    """What one tensor says.

    Attributes:
        place: of the tensor, from above. error: two standard errors.
        for_parent: above 0 it speaks for the parent, beside which `error` is what it may be off by.
    """

    place: int
    value: float
    error: float
    for_parent: float

    @property
    def colour(self) -> str:
        return QUIET if abs(self.for_parent) <= self.error else FOR if self.for_parent > 0 else AGAINST


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
    from matplotlib.text import Text

    check_target(file)
    figure = drawn(found)
    for text in figure.findobj(Text):  # names are data: `$` opens no formula
        text.set_parse_math(False)
        text.set_text("\n".join(map(printable, text.get_text().split("\n"))))
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise CannotPlot(
            f"cannot write {file}: {error.strerror}", "name a file in a folder that exists and can be written"
        ) from None


def drawn(found: Explanation) -> Figure:
    """A panel for change, one for growth, and one for inheritance where any tensor says something of it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers, child, parent = found.layers, _short(found.names[found.child]), _short(found.names[found.parent])
    panels = 3 if inheritance_known(found) else 2
    figure = Figure(figsize=(4.2 * panels, min(14.0, 3.0 + 0.22 * len(layers))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    place = list(range(len(layers)))
    axes[0].set_title("change", fontsize=9)
    axes[0].barh(place, [layer.moved for layer in layers], color=CHANGE)
    axes[0].set_xlim(left=0.0, right=None if any(layer.moved for layer in layers) else 1.0)
    axes[0].set_xlabel(
        f"length of the change from\n{parent} to\n{child},\nas a share of the former's length", fontsize=8
    )
    axes[0].set_yticks(
        place if len(place) <= NAMED else [], [layer.name for layer in layers] if len(place) <= NAMED else []
    )
    axes[0].set_ylabel("" if len(place) <= NAMED else f"{len(place)} tensors, first to last")
    axes[0].invert_yaxis()
    axes[0].tick_params(axis="y", labelsize=7)
    axes[1].set_title("growth", fontsize=9)
    before, after = f"{parent}\ncame first", f"{child}\ncame first"
    _with_errors(
        axes[1],
        _growth(layers),
        [(0.0, "-", "0: equal shares"), (1.0, ":", "1: all change is the child's")],
        before,
        after,
    )
    axes[1].set_xlabel("growth coefficient \u03b3 \u00b1 2 standard errors", fontsize=8)
    if not any(layer.moved for layer in layers):
        _say(axes[0], "no change:\nthe values are equal")
        _say(axes[1], "no change:\ngrowth says nothing")
    if panels == 3:
        axes[2].set_title("inheritance", fontsize=9)
        _with_errors(
            axes[2], _inheritance(layers), [(0.0, "-", "0: nothing"), (1.0, ":", "1: all of it")], "kept", "lost"
        )
        axes[2].set_xlabel(
            f"share \u00b1 2 standard errors of what\n{parent} learned since\n{_short(found.names[found.since or ''])}\n"
            f"that is still in {child}",
            fontsize=8,
        )
    figure.suptitle(fill(verdict_sentence(found), 48 * panels), fontsize=9)
    return figure


def _growth(layers: Sequence[LayerEvidence]) -> list[Point]:
    """Growth of each tensor; for it where it is above 0 by more than its error."""
    return [
        Point(i, layer.growth_gamma, 2 * layer.growth_error, layer.growth_gamma)
        for i, layer in enumerate(layers)
        if layer.growth_gamma is not None and layer.growth_error is not None
    ]


def _inheritance(layers: Sequence[LayerEvidence]) -> list[Point]:
    """Slope of each tensor; for it where it is above one half by more than its error."""
    return [
        Point(i, layer.slope, 2 * layer.slope_error, layer.slope - HALF_KEPT)
        for i, layer in enumerate(layers)
        if layer.slope is not None and layer.slope_error is not None
    ]


def _with_errors(
    axes: Axes, points: Sequence[Point], lines: Sequence[tuple[float, str, str]], good: str, bad: str
) -> None:
    """Points with their errors, coloured by what they say, and lines with their meaning. Far points lie on the rim.

    Args:
        lines: x, style, meaning. good, bad: what points for and against the parent say.
    """
    for colour, meaning in ((FOR, good), (AGAINST, bad), (QUIET, "says neither")):
        some = [point for point in points if point.colour == colour]
        if some:
            axes.errorbar(
                [min(FAR[1], max(FAR[0], point.value)) for point in some],
                [point.place for point in some],
                xerr=[min(point.error, FAR[1]) for point in some],
                fmt="o",
                ms=3,
                lw=1,
                color=colour,
                label=meaning,
            )
    for at, style, meaning in lines:
        axes.axvline(at, color=QUIET, lw=0.8, ls=style, label=meaning)
    ends = [0.0, 1.0, *(p.value - p.error for p in points), *(p.value + p.error for p in points)]
    left, right = max(FAR[0], min(ends)), min(FAR[1], max(ends))
    margin = 0.05 * (right - left)
    axes.set_xlim(left - margin, right + margin)
    axes.legend(fontsize=7, loc="best", framealpha=0.7)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=QUIET)


def _short(name: str) -> str:
    """A name that fits below a panel; of a longer one its end, which tells it from its neighbours."""
    return name if len(name) <= LABEL_CHARACTERS else f"\u2026{name[1 - LABEL_CHARACTERS :]}"
