"""Do probabilities mean what they say? Reliability of the answers on families of known lineage.

    python -m bench.calibration --families FOLDER [--split report] [--plot FILE]

Every model with a known answer gives one row: the probability of the answer that detection finds most probable (a parent, or none), and
whether it is right. Equal models count as one another. Expected calibration error: mean over ten bins of |share right - mean
probability|, weighted by rows. Also printed: what each threshold would assert, and how many roots would get a parent.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.families import Truth, decide_all, folders, read_sketches, read_truth
from lineage.detect.decision import Decision
from lineage.detect.options import Options

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def rows_of(truth: Truth, said: dict[str, Decision]) -> Iterator[tuple[float, bool, float, bool, bool]]:
    """(probability of the best answer, right, probability of the best parent, that parent right, a root) of each model."""
    for model, decision in said.items():
        parent = truth.parent.get(model)
        if model in truth.unknown or parent in truth.unknown or (parent is None and model not in truth.roots):
            continue
        if parent is not None and truth.alike(model, parent):
            continue  # equal models have no direction
        best = decision.candidates[0] if decision.candidates else None
        none = (
            decision.probability
            if decision.parent is None and not best
            else 1 - sum(c.probability for c in decision.candidates)
        )
        likely = best.probability if best else 0.0
        right = best is not None and truth.right(model, best.parent)
        yield max(likely, none), right if likely >= none else parent is None, likely, right, parent is None


def expected_error(
    probability: np.ndarray, right: np.ndarray, bins: int = 10
) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error, and (mean probability, share right, rows) of every bin that has rows."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    curve = [
        (float(probability[place == b].mean()), float(right[place == b].mean()), int((place == b).sum()))
        for b in range(bins)
        if (place == b).any()
    ]
    return sum(n * abs(p - r) for p, r, n in curve) / len(probability), curve


def draw(curve: list[tuple[float, float, int]], error: float, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#888888", lw=0.8)
    axes.plot([p for p, _, _ in curve], [r for _, r, _ in curve], "o-", color="#4c72b0")
    for p, r, n in curve:
        axes.annotate(str(n), (p, r), textcoords="offset points", xytext=(6, -10), fontsize=7)
    axes.set(
        xlabel="probability said",
        ylabel="share right",
        title=f"expected calibration error {error:.3f}",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=Path, action="append", required=True)
    parser.add_argument("--split", help="of families that name one, only this half")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    options = Options(dates=False, declared=False)
    rows = np.array(
        [
            row
            for folder in folders(arguments.families, arguments.split)
            for row in rows_of(read_truth(folder), decide_all(read_sketches(folder), options))
        ]
    )
    error, curve = expected_error(rows[:, 0], rows[:, 1])
    print("| probability said | models | mean said | share right |\n| --- | ---: | ---: | ---: |")
    for said, right, count in curve:
        low = min(9, int(said * 10)) / 10
        print(f"| {low:.1f}-{low + 0.1:.1f} | {count} | {said:.3f} | {right:.3f} |")
    print(f"\nexpected calibration error {error:.3f} of {len(rows)} models\n")
    children, roots = rows[:, 4] == 0, rows[:, 4] == 1
    print("| threshold | parents named | right of them | children with the right parent | roots given a parent |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for threshold in THRESHOLDS:
        named = rows[:, 2] >= threshold
        right = int((named & (rows[:, 3] == 1)).sum())
        print(
            f"| {threshold} | {named.sum()} | {right / max(1, named.sum()):.3f} "
            f"| {right} of {children.sum()} ({right / children.sum():.3f}) "
            f"| {(named & roots).sum()} of {roots.sum()} |"
        )
    if arguments.plot:
        draw(curve, error, arguments.plot)
    print(json.dumps({"models": len(rows), "expected_calibration_error": round(error, 4), "curve": curve}))


if __name__ == "__main__":
    main()
