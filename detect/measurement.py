"""Related models -> what needs no tree is settled, and the rest is measured: everything that the family's tree is decided from.

settle: coarser copies, equal bodies, merges. measure: every signal on every pair of neighbours. `pipeline.py` decides with both;
`bench/fit_ancestor.py` fits its weights to the same measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lineage.detect.adapters_inside import with_adapters
from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, torch
from lineage.detect.decision import Decision
from lineage.detect.detector.scoring import directions, loaded
from lineage.detect.disguised_copies import disguised
from lineage.detect.geometry import Geometry
from lineage.detect.gram import Gram, gram, squared_lengths
from lineage.detect.identical_bodies import IdenticalBodies, decide_equals, same_bodies, spread
from lineage.detect.merges import Merge, merged_decision, merges, renumbered
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.possible_sources import claimed_sources, possible_sources
from lineage.detect.pruned_copies import pruned_decisions
from lineage.detect.reasons import Reason
from lineage.detect.rounded_copies import rounded
from lineage.detect.signals.balance import parting
from lineage.detect.signals.content import precision
from lineage.detect.signals.counters import batches_seen
from lineage.detect.signals.decay import fits_another
from lineage.detect.signals.exact_retention import Characters, characters
from lineage.detect.signals.growth import at_right_angles
from lineage.detect.signals.interface import SignalInputs
from lineage.detect.signals.pairs import NEAREST_COMPARED, PairEvidence, each_once, pair_evidence
from lineage.detect.signals.registry import SIGNALS
from lineage.detect.signals.retention import UnitDistances, unit_distances
from lineage.detect.signals.shared_tensors import SharedTensors, shared_tensors
from lineage.detect.signals.shrunk_rows import rows_fit_another
from lineage.detect.tree import LARGE, Evidence, nearest, possible_roots
from lineage.detect.tuned_merges import leaf_merges, settled_tunings, tuned_decision

# nearest of each model that the trained detector looks at; fewer in a large family
DETECTOR_NEIGHBOURS, FEWER_NEIGHBOURS = 6, 4

Learned = Callable[[Sequence[Subject], Sequence[Layer], Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class SettledFamily:
    """Related models after everything is settled that needs no tree.

    Attributes:
        decisions: the settled ones; equals: groups of equal bodies, one of each group stays in.
        own: the m models that the tree is about; layers: their values.
        mixed: those of them that are merges, by place.
        gram: of `own`, on the CPU; distance: (m, m) squared; lengths: (m,) squared; related: (m, m) excess cosine;
            shared: (m, m), see signals/shared_start.py.
        starts: of models of the family, with which others they had a start in common; see common_starts.py.
    """

    decisions: list[Decision]
    equals: list[IdenticalBodies]
    own: list[Subject]
    layers: list[Layer]
    mixed: Mapping[int, Merge]
    gram: Gram
    distance: Tensor
    lengths: Tensor
    related: Tensor
    shared: Tensor
    starts: Mapping[str, Reason] = field(default_factory=dict)

    def only(self, models: Tensor) -> SettledFamily:
        """The same for some of the models of the tree, (n,) int64, in the order given; what is settled stays."""
        stay = models.tolist()
        return SettledFamily(
            decisions=self.decisions,
            equals=self.equals,
            own=[self.own[i] for i in stay],
            layers=[layer.of(models) for layer in self.layers],
            mixed=renumbered({m: merge for m, merge in self.mixed.items() if set(merge.sources) <= set(stay)}, stay),
            gram=self.gram.only(models),
            distance=self.distance[models][:, models],
            lengths=self.lengths[models],
            related=self.related[models][:, models],
            shared=self.shared[models][:, models],
            starts=self.starts,
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that the tree is decided from, see tree.decide_tree."""

    geometry: Geometry
    roots: Tensor
    units: UnitDistances
    pairs: PairEvidence
    characters: Characters
    evidence: Evidence
    tensors: SharedTensors


def settle(
    subjects: Sequence[Subject], layers: Sequence[Layer], related: Tensor, shared: Tensor, options: Options
) -> SettledFamily:
    """
    Args:
        subjects: m >= 2 related models; layers: their values; related, shared: (m, m) excess cosine and how well structure
            is kept, see signals/shared_start.py, on the CPU.
    """
    products = gram(layers)
    distance = products.distances().cpu()
    size = squared_lengths(layers).cpu()  # (m,)
    relative = distance / size[:, None]
    copied = _copies(subjects, relative, options)
    full = [i for i, subject in enumerate(subjects) if subject.id not in copied]
    equals = _equals(subjects, relative, layers, full)
    decisions = [*copied.values(), *(d for group in equals for d in decide_equals(group, options.threshold))]
    known = {decision.model for decision in decisions}
    whole = [i for i, subject in enumerate(subjects) if subject.id not in known]
    ids = [subjects[i].id for i in whole]
    among = [layer.of(torch.tensor(whole)) for layer in layers]
    pruned = [*pruned_decisions(ids, among, distance[whole][:, whole].numpy()).values()]
    decisions += spread(pruned, equals, options.threshold)
    known |= {decision.model for decision in pruned}
    kept = [i for i, subject in enumerate(subjects) if subject.id not in known]
    inner = products.only(torch.tensor(kept, dtype=torch.int64, device=products.products.device)).cpu()
    mixed: dict[int, Merge] = {}
    if len(kept) > 1:
        apart = distance[kept][:, kept]
        alike = _representatives(copied, equals)
        sources = possible_sources(subjects, options, kept, alike)
        claimed = claimed_sources(subjects, options, kept, alike)
        guests = {place for place, i in enumerate(kept) if subjects[i].guest}
        mixed = merges([layer.of(torch.tensor(kept)) for layer in layers], inner, apart, sources, claimed, guests)
        names = [subjects[i].id for i in kept]
        tuned = settled_tunings(mixed, apart)
        leaves = leaf_merges(mixed, apart) | {merge for merge, _ in tuned.values()}
        decisions += [merged_decision(names, mixed[leaf]) for leaf in leaves]
        for model, (merge, share) in tuned.items():
            away = float(relative[kept[merge], kept[model]].sqrt())
            decisions.append(tuned_decision(names[model], names[merge], share, away, options.threshold))
        leaves |= tuned.keys()
        stay = [place for place in range(len(kept)) if place not in leaves]
        mixed = renumbered(mixed, stay)
        kept, inner = [kept[place] for place in stay], inner.only(torch.tensor(stay, dtype=torch.int64))
    index = torch.tensor(kept, dtype=torch.int64)
    return SettledFamily(
        decisions=decisions,
        equals=equals,
        own=[subjects[i] for i in kept],
        layers=[layer.of(index) for layer in layers],
        mixed=mixed,
        gram=inner,
        distance=distance[index][:, index],
        lengths=size[index],
        related=related[index][:, index],
        shared=shared[index][:, index],
    )


def _copies(subjects: Sequence[Subject], relative: Tensor, options: Options) -> dict[str, Decision]:
    """Decisions about coarser copies, models with an adapter inside and copies in disguise, by id; the first of two about one counts.

    Args:
        relative: (m, m) squared distances, [child, parent], over the child's squared length.
    """
    found = rounded(subjects, relative)
    for model, decision in with_adapters(subjects, relative).items():
        found.setdefault(model, decision)
    sources = possible_sources(subjects, options, range(len(subjects)), _representatives(found, []))
    return found | disguised(subjects, relative, options, frozenset(found), sources)


def _representatives(copied: Mapping[str, Decision], equals: Sequence[IdenticalBodies]) -> dict[str, str]:
    """Id of each copy and of each of equal bodies -> that of the model that stays in its place."""
    of_copies = {name: decision.parent for name, decision in copied.items() if decision.parent is not None}
    return of_copies | {name: group.stands for group in equals for name, _ in group.members if name != group.stands}


def _equals(
    subjects: Sequence[Subject], relative: Tensor, layers: Sequence[Layer], full: list[int]
) -> list[IdenticalBodies]:
    """Groups of models of equal bodies among those in full precision."""
    if not full:
        return []
    sketches = [subjects[i].sketch for i in full]
    counts = batches_seen(sketches)
    bodies = same_bodies(relative[full][:, full], [layer.of(torch.tensor(full)) for layer in layers], sketches, counts)
    return [
        IdenticalBodies(
            tuple((subjects[full[i]].id, subjects[full[i]].label) for i in body.members),
            body.members.index(body.chosen),
            body.probability,
            body.counted,
        )
        for body in bodies
    ]


def detector_of(options: Options) -> Learned:
    """(m, m) float64, [child, parent]: log-odds of the detector that ships or of the one asked for, 0 where it does not look.

    Raises:
        BadDetector: the file is not a detector.
    """
    file = options.settings.get("detector")

    def learned(subjects: Sequence[Subject], layers: Sequence[Layer], neighbours: Tensor) -> Tensor:
        detector = loaded(file, str(layers[0].values.device)) if file else None
        looked_at = DETECTOR_NEIGHBOURS if len(neighbours) <= LARGE else FEWER_NEIGHBOURS
        return directions(layers, neighbours[:, :looked_at], detector)

    return learned


def measure(family: SettledFamily, options: Options, learned: Learned | None = None) -> Measurement:
    """
    Args:
        family: of at least two models.
        learned: gives the trained detector's log-odds, [child, parent]; that of `options` if None, another one when weights are fitted.
    """
    learned = learned or detector_of(options)
    own, layers = family.own, family.layers
    neighbours = nearest(family.distance)
    pairs = _pair_evidence(layers, neighbours, family.distance, family.lengths)

    def of_detector() -> Tensor:
        return learned(own, layers, neighbours) if options.detector else torch.zeros_like(pairs.direction)

    geometry = geometry_of(family, neighbours)
    inputs = SignalInputs(own, layers, geometry, pairs, family.mixed, options, of_detector)
    signals = {signal.name: signal.measure(inputs) for signal in SIGNALS}
    evidence = Evidence(
        signals,
        even=parting(pairs.balance),
        upright=at_right_angles(pairs.growth_gamma),
        of_another=fits_another(layers, pairs.one_factor) | rows_fit_another(layers, signals["decay"], pairs.decay),
    )
    roots = possible_roots(evidence.growth_at_right_angles + evidence.certain, family.distance, family.lengths)
    return Measurement(
        geometry,
        roots,
        unit_distances(layers, neighbours, roots),
        pairs,
        characters(layers, geometry.digits.tolist()),
        evidence,
        shared_tensors(layers, geometry.digits.tolist(), _handed_on(family)),
    )


def _handed_on(family: SettledFamily) -> list[bool]:
    """Of each model of the tree, whether another one that is not in the tree has its whole body."""
    representatives = {group.stands for group in family.equals}
    return [model.copied or model.id in representatives for model in family.own]


def geometry_of(family: SettledFamily, neighbours: Tensor) -> Geometry:
    """neighbours: (m, k) int64, the nearest others of each model."""
    digits = torch.tensor([precision(subject.sketch) for subject in family.own], dtype=torch.int64)
    return Geometry(family.gram, family.distance, family.lengths, family.shared, neighbours, digits)


def _pair_evidence(layers: Sequence[Layer], neighbours: Tensor, distance: Tensor, lengths: Tensor) -> PairEvidence:
    """Of all pairs; in a large family of neighbours, and of what may be its root with everything."""
    models = len(neighbours)
    nearest_pairs = each_once(neighbours[:, :NEAREST_COMPARED])
    if models <= LARGE:
        return pair_evidence(layers, torch.combinations(torch.arange(models)), nearest_pairs)
    near = pair_evidence(layers, each_once(neighbours), nearest_pairs)
    roots = possible_roots(near.direction, distance, lengths)
    star = torch.stack([roots.repeat_interleave(models), torch.arange(models).repeat(len(roots))], 1)
    star = torch.unique(star[star[:, 0] != star[:, 1]].sort(1).values, dim=0)
    return near.beside(pair_evidence(layers, star, star[:0]))
