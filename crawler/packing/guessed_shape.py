"""The shape of a packed matrix that nothing states, from what is beside it.

A layer's inputs are as many as the norms of the model are long, or its outputs are where it leads back to them, as its name or its bias
says.
"""

from __future__ import annotations

import re
from collections import Counter

from lineage.crawler.packing.interface import SCALES, Tensors

_BACK = re.compile(
    r"(^|[._])(o_proj|out_proj|down_proj|fc2|w2|wo|c_proj|dense_4h_to_h|lin2|proj_out|to_out\.0"
    r"|output\.dense|attention\.dense)$"
)


def usual_length(tensors: Tensors) -> int:
    """Length of most of a model's vectors; 0 where there are none."""
    lengths = Counter(t.shape[0] for t in tensors.values() if len(t.shape) == 1 and t.dtype in SCALES)
    return lengths.most_common(1)[0][0] if lengths else 0


def guessed_shape(stem: str, values: int, tensors: Tensors, usual: int) -> tuple[int, int] | None:
    """
    Args:
        stem: name of the layer; values: of its matrix; usual: see `usual_length`.
    """
    bias = tensors.get(f"{stem}.bias")
    rows = bias.values if bias is not None else usual if _BACK.search(stem) else values // max(1, usual)
    return None if rows < 1 or values % rows else (rows, values // rows)
