"""Block -> the kinds of its matrices in the order in which they are sampled.

Two kinds are chosen by shape, so that a model whose tensors are called otherwise has them as well: the matrix of the feed-forward layer
with the most rows (of a gated one the gate, alone or before what it is fused with), and the projection out of the attention. Of them the
first rows are sampled. The other kinds follow by the digest of their names, those beside a norm in most files and those that are not by
turns.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lineage.detect.signature import Role, TensorInfo, natural_key

WIDE_ROW = 1.5  # of the usual row: kinds of matrices with wider ones are left out
BESIDE = 2  # vectors taken along beside a matrix, at most
_NORM = re.compile(r"norm|(^|[._])ln[._\d]|layernorm|_ln\b", re.I)
_FIRST = re.compile(r"(?<![^.])0(?![^.])")
_ATTENTION = re.compile(r"att(entio)?n", re.I)
_INTO_ATTENTION = re.compile(r"(^|[._])(w?(q|k|v|kv|qkv)|query|key|value|in_proj|c_attn|w_pack)([._]|$)", re.I)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Names of a block's matrices.

    Attributes:
        shared: the tall one and the one out of the attention, or none; others: the rest, in order.
        copies: the tall one of a second expert, if the tall one is the first one's: experts made of a dense model are copies of each other.
    """

    shared: tuple[str, ...]
    copies: tuple[str, ...]
    others: tuple[str, ...]

    def common(self, number: int, each: int) -> list[str]:
        """What is sampled of a block of a model of which every block is: one kind is the same in all, so that any two can be compared.

        Args:
            number: of the block; each: kinds of a block, at most.
        """
        if not self.shared:
            return list(dict.fromkeys([*self.others[:1], *_turn(self.others[1:], number, each - 1)]))
        tall, out = self.shared
        if each > 2:
            return [tall, out, *[*self.copies, *_turn(self.others, number, each - 2)][: each - 2]]
        second = [out] if number % 2 == 0 or not self.others else self.copies or _turn(self.others, number // 2, 1)
        return [tall, *second[: each - 1]]

    def alone(self, from_end: int, second_half: bool) -> list[str]:
        """The kind that is sampled of one of the chosen blocks, of experts two.

        Args:
            from_end: how many chosen blocks lie between this one and the nearer end; second_half: whether that is the last block.
        """
        if not self.shared:
            return _turn(self.others, from_end, 1)
        if from_end % 2 and self.others:
            return _turn(self.others, from_end - 1 + second_half, 1)
        return [self.shared[1]] if from_end % 4 else [self.shared[0], *self.copies]


def _turn(names: tuple[str, ...], first: int, count: int) -> list[str]:
    """So many of the names in their order, from one on, beginning anew at their end."""
    return [names[(first + i) % len(names)] for i in range(count)] if names else []


def kinds_of(block: Mapping[str, TensorInfo], usual: int) -> Kinds:
    """
    Args:
        block: name within the block -> tensor.
        usual: values of a row of the model's matrices; those with much wider rows are left out.
    """
    fitting = [n for n, t in block.items() if t.role is Role.WEIGHT and t.row_values <= WIDE_ROW * usual and t.rows > 1]
    free = [n for n in fitting if not _INTO_ATTENTION.search(n)]
    wide = [n for n in free if not _ATTENTION.search(n) and block[n].rows > block[n].row_values]
    out = [n for n in free if _ATTENTION.search(n)] or [n for n in free if block[n].rows == block[n].row_values]
    shared: tuple[str, ...] = ()
    if wide and out:
        tall = min(wide, key=lambda n: (-block[n].rows, natural_key(n)))
        shared = (tall, min(out, key=lambda n: (block[n].rows != block[n].row_values, natural_key(n))))
    copies = tuple(name for name in map(_of_next_expert, shared[:1]) if name in fitting and name not in shared)
    others = sorted((n for n in fitting if n not in (*shared, *copies)), key=digest_number)
    vectors = vectors_beside(block, others)
    beside_norm = {n: any(_NORM.search(v.name) for v in vectors[n][0]) for n in others}
    normed, plain = ([n for n in others if beside_norm[n] is norm] for norm in (True, False))
    order = [n for i in range(len(others)) for n in (*normed[i : i + 1], *plain[i : i + 1])]
    return Kinds(shared, copies, tuple(order))


def _of_next_expert(name: str) -> str:
    return _FIRST.sub("1", name, count=1)


def vectors_beside(
    block: Mapping[str, TensorInfo], matrices: Iterable[str]
) -> dict[str, tuple[list[TensorInfo], bool]]:
    """Of each matrix, the vectors that follow on it or come before it in the order of names, where a norm is among them; whether they
    follow."""
    names = sorted(block, key=natural_key)
    places = {name: place for place, name in enumerate(names)}
    return {name: _beside(block, names, places[name]) for name in matrices}


def _beside(block: Mapping[str, TensorInfo], names: Sequence[str], at: int) -> tuple[list[TensorInfo], bool]:
    before = _run(block, names[max(0, at - BESIDE) : at][::-1])
    after = _run(block, names[at + 1 : at + 1 + BESIDE])
    if any(_NORM.search(t.name) for t in before):
        return before, False
    if any(_NORM.search(t.name) for t in after):
        return after, True
    return [], False


def _run(block: Mapping[str, TensorInfo], names: Iterable[str]) -> list[TensorInfo]:
    found: list[TensorInfo] = []
    for name in names:
        if block[name].role is not Role.VECTOR:
            break
        found.append(block[name])
    return found


def digest_number(name: str) -> int:
    """A number that depends on a name alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
