"""Models of other depths: which block of a child came from which block of a parent, by their values.

A model that lost layers, was stacked from pieces of others, or grew, has no parent in one piece: its blocks are compared one by one. In:
sketches of one backbone, each with its blocks. Out: for every block of the child the parent's block that it is most like, and, where
enough of them are related, a decision.

- Alike: cosine of the sampled rows of the matrices that both blocks have samples of, the mean of all blocks taken off, since some values
  are the same in every block. Wrong blocks have 0 or less; blocks that were trained on have 0.7 and more. Blocks of which no matrix is in
  both samples are compared by their norms, where these are equal.
- The map: best of all ways through the blocks, with a small premium for the next block of the parent; it may jump back, as stacks do.
- Direction: all blocks of the child come from the parent, and the parent has others besides (pruned) or the child some twice (stacked).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineage.detect.backbone_names import NamedBackbone
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.model_input import Subject
from lineage.detect.paired_blocks import all_in_both, blocks_in, paired_blocks
from lineage.detect.reasons import Reason
from lineage.detect.sketch_file import Sample, Sketch
from lineage.graphdb.schema import Relation

ALIKE = 0.15  # cosine from which two blocks are related; strangers of a few thousand values have 0.03 at most
ALIKE_COSINE = 0.5  # in the median of all blocks: the probability is not lowered for it
NEXT_BLOCK = 0.02  # premium of the parent's next block
COVERED = 0.75  # share of the child's blocks that must come from the parent
EQUAL = 1e-3  # relative distance of a block that was taken over as it is, rounding aside
CANDIDATES = 128
WEIGHED = 24  # of the candidates, by everything that is known of models of one depth
SAME_LAYERS_PROBABILITY = 0.97
AT_LEAST_BLOCKS = 2
FAR = 4.0  # how fast a farther candidate loses: the power of the ratio of squared distances


@dataclass(frozen=True, slots=True)
class LayerMap:
    """Where the blocks of a child come from.

    Attributes:
        to: for each block of the child the parent's block; None where it is related to none, or nothing of it can be compared.
        alike: cosine with that block; distance: relative squared distance to it. nan where absent.
        compared: how many blocks of the child could be compared at all; parent_blocks: how many the parent has.
    """

    to: tuple[int | None, ...]
    alike: tuple[float, ...]
    distance: tuple[float, ...]
    compared: int
    parent_blocks: int

    @property
    def covered(self) -> float:
        return sum(block is not None for block in self.to) / max(1, self.compared)

    @property
    def text(self) -> str:
        """`0,2,4`; `?` for a block of which nothing is known."""
        return ",".join("?" if block is None else str(block) for block in self.to)

    @property
    def unchanged(self) -> bool:
        """Whether every block that was compared is the other model's, rounding aside: then nothing was trained since."""
        return float(np.nanmax(self.distance)) < EQUAL**2

    @property
    def repeated(self) -> bool:
        known = [block for block in self.to if block is not None]
        return len(set(known)) < len(known)


def layer_map(child: Sequence[Mapping[str, Sample]], parent: Sequence[Mapping[str, Sample]]) -> LayerMap:
    """
    Args:
        child, parent: see paired_blocks.py.
    """
    alike, distance = _compared(child, parent)  # (c, p) each, nan where nothing is in both
    known = ~np.isnan(alike).all(1) if alike.size else np.zeros(len(child), bool)
    way = _way(np.nan_to_num(alike, nan=0.0))
    to: list[int | None] = []
    for i, j in enumerate(way):
        related = known[i] and not math.isnan(alike[i, j]) and alike[i, j] >= ALIKE
        to.append(j if related else None)
    pick = [(i, j) for i, j in enumerate(to)]
    return LayerMap(
        tuple(to),
        tuple(math.nan if j is None else float(alike[i, j]) for i, j in pick),
        tuple(math.nan if j is None else float(distance[i, j]) for i, j in pick),
        int(known.sum()),
        len(parent),
    )


def _compared(
    child: Sequence[Mapping[str, Sample]], parent: Sequence[Mapping[str, Sample]]
) -> tuple[np.ndarray, np.ndarray]:
    """(c, p) cosines and relative squared distances of blocks."""
    shape = (len(child), len(parent))
    dots, mine, its, apart, size = (np.zeros(shape) for _ in range(5))
    norms_equal, seen = np.zeros(shape), np.zeros(shape, bool)
    for name in sorted({name for block in child for name in block}):
        for start, stop, rows, columns in _ranges(name, child, parent):
            x = np.stack([_cut(child[i][name], start, stop) for i in rows])  # (r, v)
            y = np.stack([_cut(parent[j][name], start, stop) for j in columns])  # (k, v)
            at = np.ix_(rows, columns)
            if len(child[rows[0]][name].shape) < 2:
                for a, i in enumerate(rows):
                    for b, j in enumerate(columns):
                        varied = x[a].min() != x[a].max()
                        norms_equal[i, j] = max(norms_equal[i, j], float(varied and np.array_equal(x[a], y[b])))
                continue
            usual = (x.sum(0) + y.sum(0)) / (
                len(x) + len(y)
            )  # (v,): what every block begins with tells none from another
            xc, yc = x - usual, y - usual
            squares_x, squares_y = (x**2).sum(1), (y**2).sum(1)
            dots[at] += xc @ yc.T
            mine[at] += (xc**2).sum(1)[:, None]
            its[at] += (yc**2).sum(1)[None]
            apart[at] += np.maximum(squares_x[:, None] + squares_y[None] - 2 * (x @ y.T), 0)
            size[at] += squares_x[:, None]
            seen[at] = True
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.where(seen, dots / np.sqrt(np.maximum(mine * its, 1e-300)), np.nan)
        distance = np.where(seen, apart / np.maximum(size, 1e-300), np.nan)
    alone = ~seen & (norms_equal > 0)
    return np.where(alone, 1.0, alike), np.where(alone, 0.0, distance)


def _ranges(
    name: str, child: Sequence[Mapping[str, Sample]], parent: Sequence[Mapping[str, Sample]]
) -> list[tuple[int, int, list[int], list[int]]]:
    """(start, stop, blocks of the child, blocks of the parent) whose samples of a tensor have a range in common."""
    own: dict[tuple[int, int, tuple[int, ...]], list[int]] = {}
    others: dict[tuple[int, int, tuple[int, ...]], list[int]] = {}
    for blocks, found in ((child, own), (parent, others)):
        for place, block in enumerate(blocks):
            if name in block:
                sample = block[name]
                found.setdefault((sample.start, sample.stop, sample.shape), []).append(place)
    ranges = []
    for (start, stop, shape), rows in own.items():
        for (first, last, other), columns in others.items():
            begin, end = max(start, first), min(stop, last)
            if shape == other and end > begin:
                ranges.append((begin, end, rows, columns))
    return ranges


def _cut(sample: Sample, start: int, stop: int) -> np.ndarray:
    return sample.values()[start - sample.start : stop - sample.start].astype(np.float64)


def _way(alike: np.ndarray) -> list[int]:
    """For each block of the child a block of the parent: the best sum of likeness, with a premium for going on by one."""
    if not alike.size:
        return [0] * len(alike)
    score = alike[0].copy()
    came: list[np.ndarray] = []
    for row in alike[1:]:
        best = int(score.argmax())
        before = np.full(len(score), best)
        value = np.full(len(score), score[best])
        step = np.concatenate([[-np.inf], score[:-1] + NEXT_BLOCK])
        better = step > value
        before[better] = np.arange(-1, len(score) - 1)[better]
        score = np.where(better, step, value) + row
        came.append(before)
    way = [int(score.argmax())]
    for before in reversed(came):
        way.append(int(before[way[-1]]))
    return way[::-1]


def decide_by_layers(
    child: Subject,
    candidates: Sequence[Subject],
    decide: Callable[[Sequence[Subject]], list[Decision]] | None = None,
) -> Decision | None:
    """A parent, or the parents of a stack, of a model that has none in one piece; None where the blocks tell of none.

    Args:
        candidates: models of the same backbone, of any depth, all restricted to it.
        decide: decides about models of one depth; weighs the candidates, cut to the child's blocks, where there are several. None: the
            nearest.
    """
    found: list[tuple[Subject, LayerMap]] = []
    for candidate in candidates[:CANDIDATES]:
        own, blocks = paired_blocks(child.sketch, candidate.sketch)
        there = layer_map(own, blocks)
        if len(own) >= AT_LEAST_BLOCKS and any(block is not None for block in there.to):
            found.append((candidate, there))
    compared_in: dict[str, list[tuple[Subject, LayerMap]]] = defaultdict(list)  # key of a backbone of the child
    for candidate, there in found:
        compared_in[all_in_both(child.sketch, candidate.sketch)[0][0].backbone.key].append((candidate, there))
    for some in compared_in.values():
        if (pieces := _stacked(child, some)) is not None:
            return pieces
    whole = [
        (candidate, there)
        for candidate, there in found
        if there.covered >= COVERED and there.compared >= AT_LEAST_BLOCKS and comes_from(child, candidate, there)
    ]
    return nearest_by_layers(child, whole, _weigher(child, decide)) if whole else None


Weigher = Callable[[Sequence[tuple[Subject, LayerMap]]], tuple[dict[str, float], float] | None]


def _weigher(child: Subject, decide: Callable[[Sequence[Subject]], list[Decision]] | None) -> Weigher:
    """What `decide` says of the candidates, each cut to the blocks that the child took from it, and of all else: a parent that is not at
    hand, or that the child came before them all. None where it has no say."""

    def weigh(found: Sequence[tuple[Subject, LayerMap]]) -> tuple[dict[str, float], float] | None:
        if decide is None or (len(found) < 2 and found[0][1].unchanged):
            return None
        cut = [
            replace(c, sketch=cut_to(child.sketch, c.sketch, there), stage=None if there.repeated else 0)
            for c, there in found[:WEIGHED]
        ]
        decision = decide([replace(child, stage=1), *cut])[0]
        named = {c.parent: c.probability for c in decision.candidates}
        otherwise = float(decision.evidence.get("unseen_parent") or 0.0)
        if decision.answer is AnswerKind.ROOT and decision.reason.key == "oldest":
            # and no such root: one that is alone or has copies, which say nothing of depths
            otherwise += decision.probability
        return named, otherwise

    return weigh


def cut_to(child: Sketch, parent: Sketch, there: LayerMap) -> Sketch:
    """The parent's sketch with the blocks that the child took from it, under the child's names."""
    taken_from: dict[str, str | None] = {}
    for (own, its), way in _maps(child, parent, there):
        source = {(place.block, place.name): name for name, place in its.places.items()}
        for name, place in own.places.items():
            block = way.to[place.block]
            taken_from[name] = source.get((block, place.name)) if block is not None else None
    samples: dict[str, Sample] = {}
    for name, sample in child.samples.items():
        taken = taken_from.get(name, name)
        if taken is not None and taken in parent.samples:
            samples[name] = replace(parent.samples[taken], name=sample.name)
    return replace(parent, layout=child.layout, samples=samples)


def _maps(child: Sketch, parent: Sketch, there: LayerMap) -> list[tuple[tuple[NamedBackbone, NamedBackbone], LayerMap]]:
    """The backbones of a child that have another number of blocks than the parent's, each with its map; of one at least.

    Args:
        there: the map of the first of them.
    """
    first, *others = all_in_both(child, parent)
    apart = [pair for pair in others if pair[0].depth != pair[1].depth]
    return [(first, there)] + [
        (pair, layer_map(blocks_in(child, pair[0]), blocks_in(parent, pair[1]))) for pair in apart
    ]


def layers_text(child: Sketch, parent: Sketch, there: LayerMap) -> str:
    """The map as `0,2,4`; of several backbones with their paths."""
    found = _maps(child, parent, there)
    return there.text if len(found) == 1 else "; ".join(f"{own.backbone.part} {way.text}" for (own, _), way in found)


def comes_from(child: Subject, candidate: Subject, there: LayerMap) -> bool:
    """Whether the child has some blocks twice, or lost blocks that the other one has: then it is the later."""
    if there.repeated:
        return True
    if len(there.to) >= there.parent_blocks:
        return False
    own, blocks = paired_blocks(child.sketch, candidate.sketch)
    back = layer_map(blocks, own)
    return sum(block is None for block in back.to) > len(back.to) - back.compared


def _holds(model: Subject, other: Subject) -> bool:
    """Whether every block of another model lies in a model as it is."""
    there = layer_map(*paired_blocks(other.sketch, model.sketch))
    return there.covered == 1.0 and there.unchanged


def _stack_of(model: Subject, other: Subject) -> bool:
    """Whether the blocks of a model are those of another, some of them twice."""
    there = layer_map(*paired_blocks(model.sketch, other.sketch))
    return there.repeated and there.covered == 1.0 and there.unchanged


def _redundant(found: Sequence[tuple[Subject, LayerMap]], place: int) -> bool:
    """Whether a candidate is a smaller one's stack, or holds all of the blocks of a smaller one that is as near: the child has nothing of
    what it has besides."""
    model, there = found[place]
    for other, its in found:
        if its.parent_blocks < there.parent_blocks and (
            _stack_of(model, other) or (_as_near(its, there) and _holds(model, other))
        ):
            return True
    return False


def _as_near(one: LayerMap, other: LayerMap) -> bool:
    first, second = np.nanmean(one.distance), np.nanmean(other.distance)
    return bool(first <= second + EQUAL**2)


def nearest_by_layers(
    child: Subject, found: Sequence[tuple[Subject, LayerMap]], weigh: Weigher | None = None
) -> Decision:
    """The decision that a model was made of layers of one of others: the nearest, or what `weigh` says of them."""
    distances = [max(float(np.nanmean(m.distance)), 1e-12) for _, m in found]
    plain = [not _redundant(found, place) for place in range(len(found))]
    if any(plain):
        distances = [d for d, kept in zip(distances, plain, strict=True) if kept]
        found = [pair for pair, kept in zip(found, plain, strict=True) if kept]
    order = np.argsort(distances, kind="stable")
    found, distances = [found[i] for i in order], [distances[i] for i in order]
    weights = [(distances[0] / d) ** FAR for d in distances]
    sure_of_one = 1.0
    if weigh is not None and (said := weigh(found)) is not None:
        weighed, otherwise = said
        if found[0][0].id in weighed or sum(weighed.values()) >= 0.5:
            weights = [weighed.get(c.id, 0.0) for c, _ in found]
            sure_of_one = sum(weights) / (sum(weights) + otherwise)
        elif not weighed:
            sure_of_one = max(0.0, 1 - otherwise)
    best = int(np.argmax(weights))
    parent, layers = found[best]
    likeness = float(np.nanmedian(layers.alike))
    sure = SAME_LAYERS_PROBABILITY * sure_of_one * layers.covered * min(1.0, 0.6 + 0.4 * likeness / ALIKE_COSINE)
    chances = [sure * w / sum(weights) for w in weights]
    way = layers_text(child.sketch, parent.sketch, layers)
    evidence = {
        "layers": way,
        "layers_alike": round(likeness, 4),
        "layers_compared": layers.compared,
        "layers_of_parent": layers.parent_blocks,
        "relative_distance": round(distances[best] ** 0.5, 6),
    }
    return Decision(
        child.id,
        AnswerKind.PARENT,
        chances[best],
        parent.id,
        Relation.MERGED_FROM if layers.repeated else Relation.FINE_TUNED_FROM,
        tuple(
            Candidate(c.id, round(p, 4))
            for p, (c, _) in sorted(zip(chances, found, strict=True), key=lambda pair: -pair[0])
            if p >= 0.02 or c is parent
        ),
        ("layers",),
        evidence,
        Reason(
            "layers_stacked" if layers.repeated else "layers_chosen",
            {"layers": len(layers.to), "layers_of_parent": layers.parent_blocks, "map": way},
            {"parent": parent.id},
        ),
    )


def _stacked(child: Subject, found: Sequence[tuple[Subject, LayerMap]]) -> Decision | None:
    """A stack whose blocks are those of two or more others as they were."""
    blocks = max((len(m.to) for _, m in found), default=0)
    source: list[int | None] = []
    for i in range(blocks):
        exact = [k for k, (_, m) in enumerate(found) if not math.isnan(m.distance[i]) and m.distance[i] < EQUAL**2]
        source.append(exact[0] if len(exact) == 1 else None)
    parents = sorted({k for k in source if k is not None}, key=lambda k: (-source.count(k), k))
    known = [k for k in source if k is not None]
    compared = max((m.compared for _, m in found), default=0)
    if len(parents) < 2 or len(known) < COVERED * compared or min(map(source.count, parents)) < AT_LEAST_BLOCKS:
        return None
    layers = {
        found[k][0].id: ",".join(str(found[k][1].to[i]) if source[i] == k else "-" for i in range(blocks))
        for k in parents
    }
    shares = tuple((found[k][0].id, round(source.count(k) / len(known), 4)) for k in parents)
    return Decision(
        child.id,
        AnswerKind.PARENT,
        SAME_LAYERS_PROBABILITY,
        shares[0][0],
        Relation.MERGED_FROM,
        tuple(Candidate(name, SAME_LAYERS_PROBABILITY) for name, _ in shares),
        ("layers",),
        {"layers": layers, "layers_compared": compared},
        Reason("layers_of_several", models={"models": tuple(found[k][0].id for k in parents)}),
        merged_from=shares,
    )


def asserted(decision: Decision, threshold: float) -> Decision:
    """The decision, undecided where it is less probable than the threshold."""
    if decision.probability >= threshold:
        return decision
    reason = decision.reason
    if reason.key in ("layers_stacked", "layers_chosen"):
        reason = Reason("layers_like", reason.values, reason.models)
    return replace(decision.withdrawn(reason), merged_from=())
