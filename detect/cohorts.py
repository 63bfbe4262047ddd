"""Which models of a group are compared together, and which on their own, so that they do not shrink what the others have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from lineage.detect.decision import WITHOUT_PARENT, Decision
from lineage.detect.model_input import Subject
from lineage.detect.overlap import overlap
from lineage.detect.signature import FLOAT_DTYPES
from lineage.detect.sketch_file import Sketch
from lineage.graphdb.schema import Relation

Decide = Callable[[Sequence[Subject]], list[Decision]]

LITTLE = 0.2  # of the smaller sample: models with less in common are not compared in one piece
ALIKE = 0.8  # of the tensors that either of two has: they join the others together
MUCH = 0.7  # of the sampled values that most members have: a member with less is compared on its own


def classes(sketches: Sequence[Sketch]) -> list[list[int]]:
    """Places of models that have tensors in common, such as the encoders, and apart from them the decoders that mirror these, with blocks
    of the same sizes in another order. Most groups are one class."""
    found: list[tuple[dict[tuple[str, tuple[int, ...]], int], int, list[int]]] = []
    for place, sketch in enumerate(sketches):
        own = {
            tensor: sketch.samples[tensor[0]].stop - sketch.samples[tensor[0]].start for tensor in _comparable(sketch)
        }
        total = sum(own.values())
        for first, size, members in found:
            common = sum(min(values, first[tensor]) for tensor, values in own.items() if tensor in first)
            if common >= LITTLE * min(size, total):
                members.append(place)
                break
        else:
            found.append((own, total, [place]))
    return [members for *_, members in found]


def cohorts(sketches: Sequence[Sketch]) -> tuple[list[int], list[int]]:
    """(places of those that share most of what most of them have, places of those that would shrink it)."""
    having: dict[tuple[str, tuple[int, ...]], int] = defaultdict(int)
    size: dict[tuple[str, tuple[int, ...]], int] = {}
    for sketch in sketches:
        for tensor in _comparable(sketch):
            having[tensor] += 1
            sample = sketch.samples[tensor[0]]
            size[tensor] = max(size.get(tensor, 0), sample.stop - sample.start)
    usual = {tensor for tensor, count in having.items() if 2 * count > len(sketches)}
    wanted = sum(size[tensor] for tensor in usual)
    main: list[int] = []
    odd: list[int] = []
    for place, sketch in enumerate(sketches):
        own = sum(size[tensor] for tensor in _comparable(sketch) & usual)
        (odd if own < MUCH * wanted else main).append(place)
    return (main, odd) if main else (odd, [])


def decided_in_cohorts(
    subjects: Sequence[Subject], decide: Decide, beside: Sequence[Subject] = ()
) -> dict[str, Decision]:
    """Decisions about models of one backbone by id, of which those that would shrink what the others have in common join them on their
    own, or with those that lack the same.

    A model that had no parent among the others gets one that joined them, if it is decided so on what they all have in common.

    Args:
        beside: further models that are decided about with them, whatever they have in common.
    """
    main, odd = cohorts([subject.sketch for subject in subjects])
    first = [*(subjects[place] for place in main), *beside]
    found = {decision.model: decision for decision in decide(first)}
    alone = {model for model, decision in found.items() if decision.answer in WITHOUT_PARENT}
    for joining in _alike([subjects[place] for place in odd]):
        together = decide([*first, *joining])
        if (
            together[-1].reason.key == "could_not_compare"
        ):  # nothing is in common to all, and yet much may be to two of them
            together = decide([max(first, key=lambda s: overlap(s.sketch, joining[-1].sketch)), *joining])
        ids = {subject.id for subject in joining}
        found |= {decision.model: decision for decision in together if decision.model in ids}
        for decision in together:
            tuned = decision.parent in ids and decision.relation not in (
                Relation.COPY_OF,
                Relation.QUANTIZED_FROM,
            )
            if tuned and decision.model in alone:
                before = found[decision.model]
                surer = before.parent is None or before.probability < decision.probability
                found[decision.model] = decision if surer else before
    return found


def _alike(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """The models that lack the same: they join together, so that one of them may come from another."""
    found: list[tuple[set[tuple[str, tuple[int, ...]]], list[Subject]]] = []
    for subject in subjects:
        own = _comparable(subject.sketch)
        for tensors, members in found:
            if len(own & tensors) >= ALIKE * len(own | tensors):
                members.append(subject)
                break
        else:
            found.append((own, [subject]))
    return [members for _, members in found]


def _comparable(sketch: Sketch) -> set[tuple[str, tuple[int, ...]]]:
    """Sampled float tensors with all of their shape but the rows, which may be a vocabulary's."""
    return {(name, s.shape[1:]) for name, s in sketch.samples.items() if s.dtype in FLOAT_DTYPES}
