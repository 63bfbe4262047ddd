"""What was found about some models, together: a mapping from their names to answers, a tree for people, tables for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from lineage.answer import Answer
from lineage.graphdb.schema import Failure, Relation, chance, chance_undecided

DIGITS_OF_CASTS = (8, 11)  # of the significand: of bf16 and fp16, which are no quantization to people

if TYPE_CHECKING:
    import networkx
    import pandas


class NeedsPandas(Failure):
    """`to_pandas` where pandas is not installed."""


class Family(Mapping[str, Answer]):
    """Answers about models that were compared with each other, by name. Printed, and in a notebook, it is a tree.

    Attributes:
        unreadable: name -> why a model could not be compared.
    """

    def __init__(self, answers: Mapping[str, Answer], unreadable: Mapping[str, str] | None = None):
        self._answers = dict(answers)
        self.unreadable = dict(unreadable or {})

    def __getitem__(self, name: str) -> Answer:
        return self._answers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def roots(self) -> list[str]:
        """Models without a parent among the others, those with children first."""
        parents = {parent.repo_id for answer in self.values() for parent in answer.parents}
        return sorted((n for n, a in self.items() if not a.parents), key=lambda n: (n not in parents, n))

    def to_networkx(self) -> networkx.DiGraph[str]:
        """Models as nodes (`answer`, `probability`, `reason`), edges from child to parent (`relation`, `probability`, `share`)."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        for name, answer in self.items():
            graph.add_node(name, answer=answer.answer, probability=answer.probability, reason=answer.reason)
        for name, answer in self.items():
            for p in answer.parents:
                graph.add_edge(name, p.repo_id, relation=p.relation, probability=p.probability, share=p.share)
        return graph

    def to_pandas(self) -> pandas.DataFrame:
        """A row a model: `model`, `answer`, `parent`, `relation`, `probability`, `share`, `decided_by`, `reason`; a row a parent
        where there are several.

        Raises:
            NeedsPandas: it is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise NeedsPandas("to_pandas needs pandas", "pip install 'model-lineage[pandas]'") from None

        columns = ["model", "answer", "parent", "relation", "probability", "share", "decided_by", "reason"]
        return pd.DataFrame(list(self._rows()), columns=columns)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for name, answer in self.items():
            said = (", ".join(answer.decided_by), answer.reason)
            for p in answer.parents:
                yield (name, answer.answer, p.repo_id, p.relation, p.probability, p.share, *said)
            if not answer.parents:
                yield (name, answer.answer, None, None, answer.probability, None, *said)

    def __str__(self) -> str:
        lines: list[str] = []
        for root in self.roots:
            lines += [f"{root}   ({self._on_top(root)})", *self._branches(root, "", frozenset([root]))]
        lines += [f"{name}   (not read: {why})" for name, why in self.unreadable.items()]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The tree, for notebooks; names and reasons are escaped."""
        items = "".join(f"<li>{self._item(root, frozenset([root]))}</li>" for root in self.roots)
        items += "".join(
            f"<li>{escape(n)} <small>not read: {escape(w)}</small></li>" for n, w in self.unreadable.items()
        )
        return f'<ul class="lineage">{items}</ul>'

    def _children(self, name: str) -> list[str]:
        return [child for child, answer in self.items() if answer.parent == name]

    def _on_top(self, name: str) -> str:
        answer = self[name]
        perhaps = ", ".join(f"{p.repo_id} {chance_undecided(p.probability)}" for p in answer.runners_up[:3])
        why = "; ".join(part for part in (answer.reason, perhaps) if part)
        return f"{answer.answer}: {why}" if why else str(answer.answer)

    def _how(self, child: str) -> str:
        answer = self[child]
        how = Relation(answer.relation or Relation.FINE_TUNED_FROM).phrase.removeprefix("was ").removeprefix("is ")
        if answer.relation == Relation.QUANTIZED_FROM and answer.evidence.get("digits") in DIGITS_OF_CASTS:
            how = "cast from"
        also = "".join(f" and {p.repo_id}" for p in answer.other_parents)
        how = how if also else how.removesuffix(" from").removesuffix(" of")
        named = f" {answer.parent}{also}" if also else ""
        near = [name for name in answer.evidence.get("nearly_equal", ()) if name in self][:2]
        either = f" (or from {' or '.join(near)}, nearly equal)" if near else ""
        return f"{how}{named}, {chance(answer.probability or 0.0)}{either}"

    def _branches(self, name: str, indent: str, above: frozenset[str]) -> list[str]:
        below = [child for child in self._children(name) if child not in above]
        lines = []
        for place, child in enumerate(below):
            last = place == len(below) - 1
            lines.append(f"{indent}{'└── ' if last else '├── '}{child}   {self._how(child)}")
            lines += self._branches(child, indent + ("    " if last else "│   "), above | {child})
        return lines

    def _item(self, name: str, above: frozenset[str]) -> str:
        answer = self[name]
        what = self._how(name) if answer.parents else self._on_top(name)
        below = "".join(
            f"<li>{self._item(child, above | {child})}</li>" for child in self._children(name) if child not in above
        )
        return f"<b>{escape(name)}</b> <small>{escape(what)}</small>" + (f"<ul>{below}</ul>" if below else "")
