"""Names in files that onnxruntime-genai's model builder wrote, as transformers has them.

The builder writes a graph of its own: queries, keys and values may be one matrix, attention is called `attn`, the last norm is a layer
of its own.

Builder: https://github.com/microsoft/onnxruntime-genai (src/python/py/models/builders/base.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lineage.crawler.formats.onnx_file import Initialiser, OnnxNode

_LAST_NORM = re.compile(r"model\.layers\.\d+\.final_norm_layernorm\.weight")
_RENAMED = (
    (re.compile(r"\.(MatMul|Add)\.(weight|bias)$"), r".\2"),
    (re.compile(r"^model\.layers\.(\d+)\.attn\."), r"model.layers.\1.self_attn."),
    (re.compile(r"^model\.layers\.\d+\.final_norm_layernorm\."), "model.norm."),
)
_LINEAR = re.compile(r"(model\.layers\.\d+\.(attn|mlp)\.\w+|lm_head)\.MatMul\.weight")
_ATTENTION = re.compile(r"/model/layers\.(\d+)/attn/\w*Attention")
_ONE_MATRIX = re.compile(r"model\.layers\.(\d+)\.self_attn\.qkv_proj\.(weight|bias)")


class BuilderNames:
    """Names of one file; those of other exporters stay as they are."""

    def __init__(self, initialisers: Iterable[Initialiser], nodes: Iterable[OnnxNode]):
        self._used = any(_LAST_NORM.fullmatch(tensor.name) for tensor in initialisers)
        self._heads: dict[str, tuple[int, int]] = {}  # number of a layer -> heads of queries, of keys
        for node in nodes if self._used else ():
            found = _ATTENTION.fullmatch(node.name)
            heads = node.settings.get("num_heads", 0)
            if found is not None and 0 < heads < 1 << 20:
                self._heads[found[1]] = heads, node.settings.get("kv_num_heads", heads)

    def is_linear(self, name: str) -> bool:
        """Whether it is the matrix of a linear layer, which lies as (inputs, outputs) where it is not packed."""
        return self._used and _LINEAR.fullmatch(name) is not None

    def original(self, name: str) -> str:
        for pattern, by in _RENAMED if self._used else ():
            name = pattern.sub(by, name)
        return name

    def divided(self, name: str, shape: Sequence[int]) -> list[tuple[str, int, int]]:
        """Parts of a tensor that the model has apart: name, first row, last row.

        Args:
            name: as `original` gives it.
        """
        rows = shape[0] if shape else 1
        found = _ONE_MATRIX.fullmatch(name) if self._used else None
        heads, keys = self._heads.get(found[1], (0, 0)) if found is not None else (0, 0)
        if heads < 1 or not 0 < keys <= heads or rows % (heads + 2 * keys):
            return [(name, 0, rows)]
        size = rows // (heads + 2 * keys)
        ends = (0, heads * size, (heads + keys) * size, rows)
        parts = zip("qkv", ends, ends[1:], strict=False)
        return [(name.replace("qkv_proj", f"{part}_proj"), first, last) for part, first, last in parts]
