"""`DirectionNetwork` (network.py) asked, not trained, by numpy: for work that is over before torch is imported, see arrays.py.

Dimension letters: p pairs, l layers, h hidden numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lineage.detect.small_arrays import Tensor, erf, plain, wrap

HEADS = 4
_NORM = 1e-5  # added to variances, as torch's LayerNorm does
Array = Any


class SmallDirectionNetwork:
    """The shipped network's weights and its answer.

    Args:
        weights: name -> array; prefix: of its names among them.
    Raises:
        KeyError: a weight is missing.
    """

    def __init__(self, weights: Mapping[str, Array], prefix: str):
        self._weights = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        self.temperature = wrap(self._weights["temperature"])
        self._members = sorted({name.split(".")[1] for name in self._weights if name.startswith("members.")}, key=int)
        for member in self._members:
            for layer in ("read.0", "read.3", "attend", "judge.0", "judge.3"):
                self._weights[f"members.{member}.{layer}.weight"]

    def __call__(self, odd: Tensor, even: Tensor, present: Tensor) -> Tensor:
        """(p, l, odd numbers), (p, l, even numbers), (p, l) bool -> (p,); 0 where no layer is present."""
        tokens = plain(odd), plain(even), plain(present)
        said = np.mean([self._member(f"members.{member}", *tokens) for member in self._members], 0)
        return wrap(said / plain(self.temperature))

    def _member(self, name: str, odd: Array, even: Array, present: Array) -> Array:
        said = self._one_way(name, odd, even, present) - self._one_way(name, -odd, even, present)
        return np.where(present.any(1), said, np.float32(0))

    def _one_way(self, name: str, odd: Array, even: Array, present: Array) -> Array:
        hidden = self._two_layers(f"{name}.read", np.concatenate([odd, even], 2))  # (p, l, h)
        some = present | ~present.any(1, keepdims=True)
        layer = 0
        while f"{name}.compare.layers.{layer}.linear1.weight" in self._weights:
            hidden = self._transformer(f"{name}.compare.layers.{layer}", hidden, some)
            layer += 1
        asked = np.where(present[:, :, None], self._linear(f"{name}.attend", hidden), np.float32(-1e9))
        weights = _softmax(asked, 1)  # (p, l, heads)
        attended = (weights.swapaxes(1, 2) @ hidden).reshape(len(hidden), -1)  # (p, heads * h)
        here = present[:, :, None].astype(np.float32)
        count = np.maximum(here.sum(1), 1)
        summed = (odd * here).sum(1) / np.sqrt(count)
        seen = np.concatenate([attended, (hidden * here).sum(1) / count, summed / 3], 1)
        return self._two_layers(f"{name}.judge", seen)[:, 0]

    def _transformer(self, name: str, hidden: Array, some: Array) -> Array:
        """One layer that normalises first; some: (p, l) bool, the layers that may be looked at."""
        pairs, layers, width = hidden.shape
        joined = self._linear(f"{name}.self_attn.in_proj_", self._norm(f"{name}.norm1", hidden))  # (p, l, 3 h)
        parts = joined.reshape(pairs, layers, 3, HEADS, -1).transpose(2, 0, 3, 1, 4)  # (3, p, heads, l, h / heads)
        query, key, value = parts
        match = query @ key.swapaxes(2, 3) / np.float32((width // HEADS) ** 0.5)  # (p, heads, l, l)
        match = np.where(some[:, None, None, :], match, np.float32(-np.inf))
        seen = (_softmax(match, 3) @ value).transpose(0, 2, 1, 3).reshape(pairs, layers, width)
        hidden = hidden + self._linear(f"{name}.self_attn.out_proj", seen)
        wide = _gelu(self._linear(f"{name}.linear1", self._norm(f"{name}.norm2", hidden)))
        return hidden + self._linear(f"{name}.linear2", wide)

    def _two_layers(self, name: str, x: Array) -> Array:
        return self._linear(f"{name}.3", _gelu(self._linear(f"{name}.0", x)))

    def _linear(self, name: str, x: Array) -> Array:
        dot = "" if name.endswith("_") else "."
        return x @ self._weights[f"{name}{dot}weight"].T + self._weights[f"{name}{dot}bias"]

    def _norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(_NORM))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: Array) -> Array:
    return (x * (1 + erf(x * np.float32(0.5**0.5))) / 2).astype(np.float32)


def _softmax(x: Array, axis: int) -> Array:
    raised = np.exp(x - x.max(axis, keepdims=True))
    return raised / raised.sum(axis, keepdims=True)
