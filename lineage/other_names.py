"""Models of the graph under other names: found by the sizes of their matrices, weighed by their values (detect/renamed.py).

Models of one backbone are decided together; what is left without a parent there is compared with models of other backbones whose blocks
have matrices of the same sizes. Architectures keep these sizes, so that nothing is read to find them, and a few are read of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lineage.architecture import declared_in, subjects_of
from lineage.detect.decision import WITHOUT_PARENT, AnswerKind, Decision
from lineage.detect.methods.registry import PLAIN
from lineage.graphdb.schema import Model, keys_in

if TYPE_CHECKING:
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import SketchStore
    from lineage.detect.unrelated_parts import KeyedPart
    from lineage.graphdb.store import Store

ARCHITECTURES = 8  # of other names, with the same sizes: those with the most sizes in common
MODELS = 48  # of each


class OtherNames:
    """What the graph holds under other names.

    Attributes:
        sizes: key of a backbone -> sizes of its matrices, as words.
    """

    def __init__(self, graph: Store, sketches: SketchStore, options: Options) -> None:
        self.graph, self.sketches, self.options = graph, sketches, options
        self.sizes: dict[str, tuple[str, ...]] = graph.sizes()

    def learn(self, keys: Iterable[str], sizes: Sequence[str]) -> None:
        """Sizes of an architecture that was just read."""
        if sizes:
            self.sizes |= dict.fromkeys(keys, tuple(sizes))

    def alike(self, sizes: Iterable[str], own: Iterable[str]) -> list[str]:
        """Keys of architectures of other names with some of these sizes.

        Args:
            own: keys that do not count.
        """
        wanted, known = set(sizes), set(own)
        common = {key: len(wanted.intersection(there)) for key, there in self.sizes.items() if key not in known}
        return sorted((key for key, count in common.items() if count), key=lambda key: (-common[key], key))[
            :ARCHITECTURES
        ]

    def around(self, subject: Subject) -> list[Subject]:
        """Models of other names that a model may be related to."""
        from lineage.detect.renamed import size_words

        keys = self.alike(size_words(subject.sketch), keys_in(subject.sketch.signature))
        return [other for _, other, _ in self._read(keys) if other.id != subject.id]

    def _read(self, keys: Iterable[str]) -> list[tuple[Model, Subject, str | None]]:
        found: dict[str, tuple[Model, Subject, str | None]] = {}
        for key in keys:
            heads = self.graph.heads(key, MODELS)
            answers = {model.hub_id: answer for model, answer in heads}
            wanted = [model for model, _ in heads if model.hub_id not in found]
            for model, other in subjects_of(wanted, declared_in(self.graph, key), self.sketches):
                if other is not None:
                    found[other.id] = (model, other, answers[other.id])
        return list(found.values())

    def weighed(
        self,
        decisions: list[Decision],
        models: Mapping[str, Model],
        said: Mapping[str, Sequence[tuple[KeyedPart, Decision]]],
    ) -> tuple[list[Decision], dict[str, Model]]:
        """Decisions with those about models that have relatives under other names alone, and about these where they changed.

        Args:
            said: what the groups say of the parts of each model.
        Returns:
            Decisions, and the models outside of `models` that some of them are about.
        """
        heads = [d for d in decisions if d.answer in WITHOUT_PARENT or _has_open_part(said.get(d.model, ()))]
        if self.options.method != PLAIN or not heads:
            return decisions, {}
        keys = {key for d in heads for key in keys_in(str(models[d.model].signature))}
        sizes = {size for key in keys for size in self.sizes.get(key, ())}
        others = {
            subject.id: (model, subject, answer) for model, subject, answer in self._read(self.alike(sizes, keys))
        }
        if not others:
            return decisions, {}
        own = {d.model: d for d in decisions}
        mine = [s for _, s in subjects_of([models[name] for name in own], {}, self.sketches) if s is not None]
        known = {**{name: _stored(name, answer) for name, (_, _, answer) in others.items()}, **own}
        subjects = [*mine, *(subject for name, (_, subject, _) in others.items() if name not in own)]
        found = self._decide(subjects, known, said)
        changed = {d.model: d for d in found if d is not known[d.model]}
        weighed = [changed.get(d.model, d) for d in decisions]
        beside = [
            d for name, d in changed.items() if name not in own and (d.candidates or d.answer is not known[name].answer)
        ]
        return [*weighed, *beside], {d.model: others[d.model][0] for d in beside}

    def _decide(
        self,
        subjects: Sequence[Subject],
        known: Mapping[str, Decision],
        said: Mapping[str, Sequence[tuple[KeyedPart, Decision]]],
    ) -> list[Decision]:
        from lineage.detect.computing import computing
        from lineage.detect.group_decisions import with_other_names
        from lineage.detect.methods.to_decisions import decide_or_say

        with computing([s.sketch for s in subjects], self.options, None, one_of_many=True) as on:

            def decide(some: Sequence[Subject]) -> list[Decision]:
                return decide_or_say(PLAIN, some, self.options, on)

            own = [known[s.id] for s in subjects]
            return with_other_names(subjects, own, said, decide, self.options.threshold)


def _has_open_part(said: Sequence[tuple[KeyedPart, Decision]]) -> bool:
    """Whether a model with several parts has one without a parent."""
    several = len({key for part, _ in said for key in part.keys}) > 1
    return several and any(decision.answer in WITHOUT_PARENT for _, decision in said)


def _stored(name: str, answer: str | None) -> Decision:
    """What the graph says of a model, as far as it matters here: whether it has a parent."""
    kind = AnswerKind(answer) if answer in WITHOUT_PARENT else AnswerKind.PARENT
    return Decision(name, kind, 1.0)
