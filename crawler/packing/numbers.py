"""Bytes of packed tensors -> numbers: runs of a few bits, and floats of eight and four bits.

Formats: OCP 8-bit floating point (E4M3, E5M2) and OCP microscaling formats (E2M1, E8M0), https://www.opencompute.org/documents.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

FLOAT8 = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0")
_PLAIN: Mapping[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
}  # fmt: skip


def _float8(dtype: str) -> np.ndarray:
    """All 256 values of a dtype; NaN and infinity are NaN."""
    codes = np.arange(256)
    if dtype == "F8_E8M0":
        values = np.exp2(codes.astype(np.float64) - 127)
        values[255] = np.nan
        return values.astype(np.float32)
    mantissa_bits = 3 if "E4M3" in dtype else 2
    signless, nuz = codes & 127, dtype.endswith("FNUZ")
    bias = (1 << (6 - mantissa_bits)) - (0 if nuz else 1)
    exponent, mantissa = signless >> mantissa_bits, signless & ((1 << mantissa_bits) - 1)
    fraction = mantissa / (1 << mantissa_bits)
    values = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * np.exp2(exponent - float(bias)))
    values = np.where(codes >> 7, -values, values)
    if nuz:
        values[128] = np.nan
    elif dtype == "F8_E4M3":
        values[[127, 255]] = np.nan
    else:
        values[signless >= 124] = np.nan
    return values.astype(np.float32)


_FLOAT8 = {dtype: _float8(dtype) for dtype in FLOAT8}
FLOAT4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)  # E2M1


def decoded(raw: bytes, dtype: str) -> np.ndarray:
    """
    Args:
        dtype: as safetensors spells it: a float, a whole number, or one of FLOAT8.
    Returns:
        (n,) float32 for floats of any width up to 32 bits, else the numbers as they are.
    """
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype in _FLOAT8:
        return _FLOAT8[dtype][np.frombuffer(raw, "u1")]
    numbers = np.frombuffer(raw, _PLAIN[dtype])
    return numbers.astype(np.float32) if dtype in ("F16", "F32", "F64") else numbers


def of_bits(words: np.ndarray, bits: int) -> np.ndarray:
    """Runs of `bits` bits, the lowest first, across the ends of words.

    Args:
        words: (rows, n) whole numbers of any width, little-endian.
    Returns:
        (rows, n x width // bits) uint8.
    """
    rows = np.ascontiguousarray(words)
    stream = np.unpackbits(rows.view(np.uint8).reshape(len(rows), -1), axis=1, bitorder="little")
    many = stream.shape[1] // bits
    pieces = stream[:, : many * bits].reshape(len(rows), many, bits)  # (rows, many, bits)
    return pieces @ (1 << np.arange(bits)).astype(np.uint8)  # (rows, many)
