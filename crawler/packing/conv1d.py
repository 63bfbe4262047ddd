"""Packed matrices of GPT-2's Conv1D, which lie as (inputs, outputs) in the original and as (outputs, inputs) once they are packed.

Quantizers store a Conv1D as they do a linear layer. Nothing in the file says so: of models with layers of these names, GPT-2 and its like
have a table of positions, and queries, keys and values of the model's width each; others with a table share keys and values between heads.

Layer: https://github.com/huggingface/transformers (pytorch_utils.Conv1D; models gpt2, openai, imagegpt, decision_transformer).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineage.crawler.packing.interface import PackedMatrix, ReadRanges, TensorRange, Tensors

_POSITIONS = re.compile(r"(^|\.)(wpe|positions_embed)\.weight$")
_LAYER = re.compile(r"(^|\.)h\.\d+\.((attn|crossattention)\.(c_attn|q_attn|c_proj)|mlp\.(c_fc|c_proj))\.weight$")
_QUERIES = re.compile(r"\.attn\.c_attn\.weight$")


@dataclass(frozen=True, slots=True)
class TurnedMatrix(PackedMatrix):
    """inner: the matrix as it is packed."""

    inner: PackedMatrix

    def needs(self, first: int, last: int) -> list[TensorRange]:
        return self.inner.needs(0, self.shape[1])

    def unpack(self, first: int, last: int, loaded: ReadRanges) -> np.ndarray:
        return self.inner.unpack(0, self.shape[1], loaded)[:, first:last].T


def turned(found: Sequence[PackedMatrix], tensors: Tensors) -> list[PackedMatrix]:
    """The same matrices, those of Conv1D in the original's layout."""
    queries = [matrix for matrix in found if _QUERIES.search(matrix.name)]
    threefold = all(len(m.shape) == 2 and m.shape[0] == 3 * m.shape[1] for m in queries)
    if not queries or not threefold or not any(_POSITIONS.search(name) for name in tensors):
        return list(found)
    return [
        TurnedMatrix(m.name, m.shape[::-1], m.how, m.parts, m) if _LAYER.search(m.name) and len(m.shape) == 2 else m
        for m in found
    ]
