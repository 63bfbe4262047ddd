"""The evidence for and against one edge, for two models wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lineage.graphdb.schema import Failure, home_path, keys_in, share_key

if TYPE_CHECKING:
    from lineage.detect.explain import Explanation
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.store import Store
    from lineage.reading import Reading


class SameModel(Failure):
    """Both names mean one model, so there is no edge to explain."""

    exit_code = 2


class CannotCompare(Failure):
    """Two models that share no value that could be compared."""

    exit_code = 3


def label_of(name: str, looked: Reading) -> str:
    """What a model is called in the answer: as it was typed where that tells more than its name."""
    typed = "@" in name or home_path(name).exists()
    return name if typed else looked.model.repo_id


def explain_pair(
    child: tuple[Reading, str],
    parent: tuple[Reading, str],
    graph: Store | None,
    sketches: SketchStore,
    options: Options,
    device: str | None = None,
    beside: Sequence[Subject] = (),
) -> Explanation:
    """
    Args:
        child, parent: what was found, and what to call it.
        beside: further models that are weighed as well as those of the graph.
    Raises:
        SameModel: both are one model. CannotCompare: nothing of them can be compared.
    """
    from lineage.detect.align import NotComparable
    from lineage.detect.computing import computing
    from lineage.detect.explain import explain as explain_subjects
    from lineage.detect.groups import comparable
    from lineage.detection import relatives_in

    (young, young_name), (old, old_name) = child, parent
    if not share_key(young.sketch.signature, old.sketch.signature):
        raise CannotCompare(
            f"cannot tell: {young_name} and {old_name} have no backbone in common, so no value can be compared",
            f"`lineage who-is-parent {young_name}` compares it with the models of its own",
        )
    same = young.model.hub_id == old.model.hub_id
    if same and young.model.weights_digest == old.model.weights_digest:
        raise SameModel(f"{young_name} and {old_name} are one and the same model", "name two different models")
    subjects = [
        _subject(looked, name, graph, apart=same and not looked.stored)
        for looked, name in ((young, young_name), (old, old_name))
    ]
    others = relatives_in(graph, sketches, subjects[0], {young.model.hub_id, old.model.hub_id}, device)
    others = [*others, *(s for s in beside if s.id not in {o.id for o in others})]
    pair = {
        young.sketch.digest,
        old.sketch.digest,
    }  # a copy of either would be the nearest, and hide how the two are related
    others = [other for other in others if other.sketch.digest not in pair]
    try:
        key = next(k for k in keys_in(young.sketch.signature) if k in keys_in(old.sketch.signature))
        here, there = comparable(subjects[0], [subjects[1], *others], key)
        if not there or there[0].id.partition("\n")[0] != subjects[1].id:
            raise NotComparable(
                f"{young_name} and {old_name} have different numbers of layers", "try `lineage origins`"
            )
        with computing([s.sketch for s in (here, *there)], options, device) as on:
            return explain_subjects(here, there[0], there[1:], options, on)
    except NotComparable as error:
        raise CannotCompare(f"cannot tell: {error.message}", error.try_next) from None


def _subject(looked: Reading, name: str, graph: Store | None, apart: bool) -> Subject:
    """apart: two revisions of one repository are to be told apart."""
    from lineage.detection import declared_bases

    subject = looked.subject(declared_bases(graph, looked.declarations), name)
    return replace(subject, id=f"{subject.id}@{looked.model.revision}") if apart else subject
