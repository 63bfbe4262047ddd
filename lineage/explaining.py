"""The evidence for and against one edge, for two models wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lineage.graphdb.schema import Failure, Status, counted, home_path, keys_in, share_key

if TYPE_CHECKING:
    from lineage.detect.adapter_explain import AdapterExplanation
    from lineage.detect.decision import Decision
    from lineage.detect.explain import Explanation
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import Sketch, SketchStore
    from lineage.graphdb.store import Store
    from lineage.reading import Reading


class SameModel(Failure):
    """JoinedSurroundings names mean one model, so there is no edge to explain."""

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
    declared: frozenset[str] = frozenset(),
) -> Explanation | AdapterExplanation:
    """
    Args:
        child, parent: what was found, and what to call it.
        beside: further models that are weighed as well as those of the graph; declared: ids of those that the child's card names.
    Returns:
        Of an adapter, how it fits; of everything else, what its values say.
    Raises:
        SameModel: both are one model. CannotCompare: nothing of them can be compared.
    """
    from lineage.detect.align import NotComparable
    from lineage.detect.computing import computing
    from lineage.detect.explain import explain as explain_subjects
    from lineage.detect.explain import with_decision
    from lineage.detect.group_decisions import decide_about
    from lineage.detect.groups import comparable
    from lineage.detect.methods.registry import PLAIN, decide_with
    from lineage.detect.renamed import kinship
    from lineage.detect.row_match import corresponding
    from lineage.detect.signals.content import equal_tensors
    from lineage.detect.translated import translated
    from lineage.detection import relatives_in

    (young, young_name), (old, old_name) = child, parent
    if young.model.status is Status.ADAPTER:
        return _explain_adapter(child, parent, graph, sketches, options)
    if old.model.status is Status.ADAPTER:
        raise CannotCompare(
            f"cannot tell: {old_name} is an adapter, and {young_name} holds whole weights",
            f"`lineage who-is-parent {young_name}` compares it with models",
        )
    same = young.model.hub_id == old.model.hub_id
    if same and young.model.weights_digest == old.model.weights_digest:
        raise SameModel(f"{young_name} and {old_name} are one and the same model", "name two different models")
    subjects = [
        _subject(looked, name, graph, apart=same and not looked.stored)
        for looked, name in ((young, young_name), (old, old_name))
    ]
    subjects[0] = replace(subjects[0], declared=frozenset(subjects[0].declared) | declared)
    renamed = not share_key(young.sketch.signature, old.sketch.signature)
    if renamed and kinship(*subjects) is None:
        if equal := equal_tensors(young.sketch, old.sketch):
            raise CannotCompare(
                f"cannot tell: {len(equal)} of the {counted(len(young.sketch.samples), 'tensor')} that were read of "
                f"{young_name} are in {old_name} bit for bit, and the two have no backbone in common",
                f"`lineage origins {young_name} {old_name}` compares them block by block",
            )
        raise CannotCompare(
            f"cannot tell: {young_name} and {old_name} have no backbone in common, and no rows of the one are found in the other",
            f"`lineage who-is-parent {young_name}` compares it with the models of its own",
        )
    others = relatives_in(
        graph, sketches, subjects[1 if renamed else 0], {young.model.hub_id, old.model.hub_id}, device
    )
    others = [*others, *(s for s in beside if s.id not in {o.id for o in others})]
    # a copy of either would be the nearest, and hide how the two are related
    others = _without_copies_of((young.sketch, old.sketch), others)
    labels = {s.id: s.label for s in (*subjects, *others)}

    def decided() -> Decision:
        """About the child, with everything at hand: models of other names or depths beside it are no family by themselves."""
        everyone = [subjects[0], subjects[1], *others]
        with computing([s.sketch for s in everyone], options, device) as on:
            return decide_about(
                subjects[0],
                everyone[1:],
                lambda some: decide_with(options.method, some, options, on),
                options.threshold if options.method == PLAIN else None,
            )

    try:
        if renamed:
            here, there = comparable(subjects[1], others, keys_in(old.sketch.signature)[0])
            again = translated(subjects[0].sketch, here.sketch, corresponding(here.sketch, subjects[0].sketch))
            again_subject = replace(subjects[0], sketch=again)
            with computing([s.sketch for s in (again_subject, here, *there)], options, device) as on:
                found = explain_subjects(again_subject, here, there, options, on)
            return with_decision(replace(found, names={**labels, **found.names}), decided())
        key = next(k for k in keys_in(young.sketch.signature) if k in keys_in(old.sketch.signature))
        here, there = comparable(subjects[0], [subjects[1], *others], key)
        if not there or there[0].id.partition("\n")[0] != subjects[1].id:
            cut, layers = _cut(here, comparable(subjects[1], [], key)[0])
            with computing([s.sketch for s in (here, cut, *there)], options, device) as on:
                found = explain_subjects(here, cut, there, options, on)
            named = replace(found, names={**labels, **found.names}, layer_map=layers)
            return with_decision(named, decided())
        with computing([s.sketch for s in (here, *there)], options, device) as on:
            found = explain_subjects(here, there[0], there[1:], options, on)
        several = any(keys_in(one.sketch.signature)[1:] for one, _ in (child, parent)) or len(there) <= len(others)
        if not several and {here.id, there[0].id} == {s.id for s in subjects}:
            return found
        named = replace(found, child=subjects[0].id, parent=subjects[1].id, names={**labels, **found.names})
        return with_decision(named, decided())
    except NotComparable as error:
        raise CannotCompare(f"cannot tell: {error.message}", error.try_next) from None


def _without_copies_of(pair: Sequence[Sketch], others: Sequence[Subject]) -> list[Subject]:
    """The others whose weights are neither's of a pair: by the digest of their files, and by their values."""
    from lineage.detect.signals.content import copies

    digests = {sketch.digest for sketch in pair}
    left = [other for other in others if other.sketch.digest not in digests]
    groups = copies([*pair, *(other.sketch for other in left)])
    equal = {i for first, rest in groups.items() if first < len(pair) for i in rest}
    return [other for place, other in enumerate(left, len(pair)) if place not in equal]


def _cut(child: Subject, parent: Subject) -> tuple[Subject, str]:
    """A parent of another depth with the blocks that the child has of it, and which these are; of one that is not related its first ones.

    Raises:
        NotComparable: they have no blocks to compare.
    """
    from lineage.detect.align import NotComparable
    from lineage.detect.layer_map import cut_to, layer_map
    from lineage.detect.paired_blocks import paired_blocks

    own, its = paired_blocks(child.sketch, parent.sketch)
    if not own or not its:
        raise NotComparable(f"{child.label} and {parent.label} have no blocks in common")
    found = layer_map(own, its)
    if all(block is None for block in found.to):
        found = replace(found, to=tuple(min(place, len(its) - 1) for place in range(len(own))))
        return replace(parent, sketch=cut_to(child.sketch, parent.sketch, found)), "none of its layers is alike"
    layers = f"{found.text} of the parent's {found.parent_blocks}"
    return replace(parent, sketch=cut_to(child.sketch, parent.sketch, found)), layers


def _explain_adapter(
    child: tuple[Reading, str],
    parent: tuple[Reading, str],
    graph: Store | None,
    sketches: SketchStore,
    options: Options,
) -> AdapterExplanation:
    """
    Raises:
        SameModel: both are one adapter.
    """
    from lineage.adapters import Adapter, base_under, decide_about_adapter
    from lineage.detect.adapter_explain import AdapterExplanation
    from lineage.detect.adapter_fit import Fit, fit, with_modules_of
    from lineage.detect.adapter_structure import structure_of
    from lineage.scanning import FolderReading
    from lineage.surroundings import FolderSurroundings, GraphSurroundings, JoinedSurroundings, NoSurroundings

    (young, young_name), (old, old_name) = child, parent
    own, its = young.model.hub_id, old.model.hub_id
    if own == its:
        raise SameModel(f"{young_name} and {old_name} are one and the same model", "name two different models")
    pair = {own: young, its: old}
    known = FolderReading(
        {name: r for name, r in pair.items() if r.model.status is not Status.ADAPTER},
        {},
        {name: r for name, r in pair.items() if r.model.status is Status.ADAPTER},
    )
    labels = {own: young_name, its: old_name}
    around = JoinedSurroundings(
        FolderSurroundings(known, labels=labels),
        GraphSurroundings(graph, sketches) if graph is not None else NoSurroundings(),
    )
    adapter = Adapter(own, young_name, young.sketch, young.declarations)
    found = decide_about_adapter(adapter, around, options)
    structure = structure_of(young.sketch.layout)
    base = base_under(its, adapter, around)
    fits: Fit | None = None
    if base is not None:
        fits = max((fit(structure, base, c) for c in structure.components), key=lambda one: one.fitting)
        structure = with_modules_of(structure, base)
    return AdapterExplanation(own, its, structure, fits, found.decision, {**found.names, **labels})


def _subject(looked: Reading, name: str, graph: Store | None, apart: bool) -> Subject:
    """apart: distinguish two revisions of one repository."""
    from lineage.detection import declared_bases

    subject = looked.subject(declared_bases(graph, looked.declarations, looked.model.repo_id), name)
    return replace(subject, id=f"{subject.id}@{looked.model.revision}") if apart else subject
