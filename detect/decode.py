"""Raw little-endian bytes of a tensor -> numbers. The one place that knows how dtypes lie in a file."""

from __future__ import annotations

import numpy as np

DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
}  # fmt: skip


def decode(raw: bytes, dtype: str) -> np.ndarray:
    """
    Args:
        raw: whole values, little-endian; dtype: as safetensors spells it, a key of `DTYPE_BYTES`.
    Returns:
        (n,) float32 for halves and floats, float64 for doubles and integers: always exact but for integers beyond 2^53.
    """
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    numbers = np.frombuffer(raw, _NUMPY[dtype])
    return numbers.astype(np.float32 if dtype in ("F32", "F16") else np.float64)


def round_to(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values rounded to nearest, ties to even, in a coarser float dtype, and given back as float32."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return (rounded.astype(np.uint32) << 16).view(np.float32)
    return values.astype(_NUMPY[dtype]).astype(np.float32)
