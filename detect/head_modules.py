"""Which head a tensor lies in: `decode_head.linear_fuse.weight` is of the head `decode_head`, as its classifier is.

A head has inner layers beside the one whose rows are classes. Whether a model kept another one's head shows in these: two trainings on the
same classes arrive at like rows of classes and like biases, whatever they began with, but not at like inner layers.
"""

from __future__ import annotations

import re
from functools import lru_cache

from lineage.detect.signature import Role, is_number, role_of

# MobileNet's last layer before its classifier is none
_HEAD = re.compile(r"(?!conv_head)([a-z_]*classifier[a-z_]*|[a-z_]*head|heads|score|qa_outputs|logits_proj)")


@lru_cache(maxsize=1 << 16)
def head_module(name: str, dtype: str, shape: tuple[int, ...]) -> str | None:
    """Path of the head that a tensor lies in; None of a tensor of the body. What lies behind a number is a block's."""
    pieces = name.split(".")
    for place, piece in enumerate(pieces[:-1]):
        if is_number(piece):
            break
        if _HEAD.fullmatch(piece):
            return ".".join(pieces[: place + 1])
    return name.rpartition(".")[0] or name if role_of(name, dtype, shape) is Role.HEAD else None
