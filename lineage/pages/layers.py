"""The change from parent to child, layer by layer, as a drawing: how much moved, growth, what was retained, what was inherited.

In: `LayerEvidence` of `lineage.detect.explain`, or the same numbers as JSON from the process that computes them for the web pages.
Out: rows of geometry that a template paints as SVG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lineage.pages.words import number, shortened, visible

if TYPE_CHECKING:
    from lineage.detect.explain import LayerEvidence

MOST_ROWS = 160  # in deeper networks several layers share a row
NAMED = 64  # rows whose names can be read
NAMES_WIDTH, PANEL, GUTTER, TOP, BOTTOM = 250.0, 190.0, 26.0, 44.0, 26.0
GROWTH_FROM, GROWTH_TO = -1.0, 2.0


@dataclass(frozen=True, slots=True)
class LayerRow:
    """
    Attributes:
        change: |child - parent| / |parent|; retained: share of units that are equal bit for bit.
        growth, growth_error: coefficient of growth and its standard error; above 0 the parent came first.
        inherited: share of what the parent learned since its own parent that is still in the child; None without a grandparent.
    """

    name: str
    values: int
    change: float
    retained: float
    growth: float | None
    growth_error: float | None
    inherited: float | None
    inherited_error: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One painted row; all numbers are pixels, None where there is nothing to paint."""

    name: str
    about: str
    y: float
    change: float
    retained: float
    growth: tuple[float, float, float] | None
    inherited: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Panel:
    """A column of the picture: its heading, where it begins, and its ticks (x, text)."""

    heading: str
    note: str
    x: float
    ticks: tuple[tuple[float, str], ...]
    zero: float


@dataclass(frozen=True, slots=True)
class LayerPicture:
    """What a template paints."""

    width: float
    height: float
    row_height: float
    top: float
    panels: tuple[Panel, ...]
    rows: tuple[Row, ...]
    named: bool
    equal: bool


def layers_of(evidence: Sequence[LayerEvidence]) -> tuple[LayerRow, ...]:
    """The numbers of detection as pages take them."""
    return tuple(
        LayerRow(
            name=layer.name,
            values=layer.values,
            change=layer.moved,
            retained=layer.equal_units,
            growth=layer.growth_gamma,
            growth_error=layer.growth_error,
            inherited=layer.slope,
            inherited_error=layer.slope_error,
        )
        for layer in evidence
    )


def as_json(layers: Sequence[LayerRow]) -> list[dict[str, Any]]:
    return [asdict(layer) for layer in layers]


def from_json(rows: Sequence[Mapping[str, Any]]) -> tuple[LayerRow, ...]:
    return tuple(LayerRow(**row) for row in rows)


def layer_picture(layers: Sequence[LayerRow], most: int = MOST_ROWS) -> LayerPicture:
    """The drawing of some layers, first to last, in at most `most` rows."""
    shown = _merged(layers, most)
    named = len(shown) <= NAMED
    row_height = 18.0 if named else 7.0
    largest = max((layer.change for layer in shown), default=0.0)
    inherits = any(layer.inherited is not None for layer in shown)
    x = [NAMES_WIDTH + place * (PANEL + GUTTER) for place in range(4)]
    panels = [
        Panel("change", "|child − parent| / |parent|", x[0], _ticks(x[0], 0.0, largest or 1.0), x[0]),
        Panel(
            "growth",
            "above 0: the parent came first",
            x[1],
            _ticks(x[1], GROWTH_FROM, GROWTH_TO, 3),
            _on_growth(x[1], 0.0),
        ),
        Panel("retention", "units equal bit for bit", x[2], _ticks(x[2], 0.0, 1.0), x[2]),
    ]
    if inherits:
        panels.append(
            Panel(
                "inheritance",
                "1: all the parent had learned",
                x[3],
                _ticks(x[3], GROWTH_FROM, GROWTH_TO, 3),
                _on_growth(x[3], 1.0),
            )
        )
    rows = tuple(
        Row(
            name=shortened(visible(layer.name), 36),
            about=_about(layer),
            y=TOP + place * row_height,
            change=PANEL * layer.change / largest if largest else 0.0,
            retained=PANEL * layer.retained,
            growth=_point(x[1], layer.growth, layer.growth_error),
            inherited=_point(x[3], layer.inherited, layer.inherited_error),
        )
        for place, layer in enumerate(shown)
    )
    width = panels[-1].x + PANEL + GUTTER
    height = TOP + len(rows) * row_height + BOTTOM
    return LayerPicture(width, height, row_height, TOP, tuple(panels), rows, named, largest == 0.0)


def _on_growth(x: float, value: float) -> float:
    inside = min(GROWTH_TO, max(GROWTH_FROM, value))
    return x + PANEL * (inside - GROWTH_FROM) / (GROWTH_TO - GROWTH_FROM)


def _point(x: float, value: float | None, error: float | None) -> tuple[float, float, float] | None:
    """(left end, middle, right end) of a value with two standard errors on each side."""
    if value is None:
        return None
    spread = 2 * (error or 0.0)
    return _on_growth(x, value - spread), _on_growth(x, value), _on_growth(x, value + spread)


def _ticks(x: float, low: float, high: float, steps: int = 2) -> tuple[tuple[float, str], ...]:
    return tuple(
        (x + PANEL * place / steps, number(low + (high - low) * place / steps, 2 if high < 1.5 else 1))
        for place in range(steps + 1)
    )


def _about(layer: LayerRow) -> str:
    parts = [f"{visible(layer.name)}: change {number(layer.change, 3)}", f"{layer.retained:.0%} of units equal"]
    if layer.growth is not None:
        parts.append(f"growth {number(layer.growth)} ± {number(layer.growth_error)}")
    if layer.inherited is not None:
        parts.append(f"inherited {number(layer.inherited)}")
    return ", ".join((*parts, f"{layer.values:,} values compared"))


def _merged(layers: Sequence[LayerRow], most: int) -> list[LayerRow]:
    """No more than `most` layers: neighbours become one, weighted by their values."""
    if len(layers) <= most:
        return list(layers)
    size = -(-len(layers) // most)
    return [_mean(layers[start : start + size]) for start in range(0, len(layers), size)]


def _mean(part: Sequence[LayerRow]) -> LayerRow:
    weight = sum(layer.values for layer in part) or 1

    def mean(name: str) -> float | None:
        rows = [(getattr(layer, name), layer.values) for layer in part if getattr(layer, name) is not None]
        return sum(value * n for value, n in rows) / sum(n for _, n in rows) if rows else None

    return LayerRow(
        name=f"{part[0].name} … {part[-1].name}" if len(part) > 1 else part[0].name,
        values=weight,
        change=mean("change") or 0.0,
        retained=mean("retained") or 0.0,
        growth=mean("growth"),
        growth_error=mean("growth_error"),
        inherited=mean("inherited"),
        inherited_error=mean("inherited_error"),
    )
