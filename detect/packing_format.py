"""What the name of a packing, as `gptq 4 bits` or `gguf Q4_K`, says about its values: bits, and how far they may be from the original's."""

from __future__ import annotations

from collections.abc import Mapping

from lineage.detect.dequantized import grid_bits
from lineage.detect.model_input import Subject

# bits -> relative error beyond which a model is not the original
MOST_ERROR = {1: 0.9, 2: 0.8, 3: 0.45, 4: 0.25, 5: 0.1, 6: 0.06}
BITS_OF_WORDS = {
    "int8": 8, "uint8": 8, "fp8": 8, "q8": 8, "q6": 6, "q5": 5, "q4": 4, "iq4": 4, "q3": 3, "iq3": 3, "q2": 2, "iq2": 2, "tq2": 2,
    "tq1": 2, "iq1": 1, "q1": 1, "nf4": 4, "fp4": 4, "nvfp4": 4, "mxfp4": 4, "mxfp8": 8, "int4": 4, "f16": 16, "bf16": 16,
}  # fmt: skip
FP8 = "fp8"
FINE_ERROR = 0.04  # the same of eight bits, in whole numbers or floats
TO_NEAREST = (  # packings whose usual quantizers round each value to the nearest level
    "bitsandbytes", "torchao", "quanto", "mlx 2", "mlx 3", "mlx 4", "mlx mxfp", "mlx nvfp", "gguf Q", "onnx int8", "fp8", "int8",
    "compressed-tensors fp8", "compressed-tensors nvfp4", "compressed-tensors mxfp4",
)  # fmt: skip
VALUES_OF_A_SCALE = 16  # values that share a scale in every packing
FLOATS_SHARE = 64
EVEN_BITS = 5  # from which on whole numbers leave levels of a block unused
MOST_OUTSIDE = {  # share of the original's values that are nearer to another level, by the beginning of what a format is called
    "mlx 6": 0.03,
    "mlx 8": 0.1,
    **dict.fromkeys(TO_NEAREST, 0.003),
    "": 1.0,
}
MOST_NEAR_ZERO = {  # the same of values near zero; some quantizers change a scale after they have rounded with it
    "quanto": 1.0,
    "hqq 4": 0.01,
    "hqq 8": 1.0,
    "mlx 3": 0.001,
    "mlx 4": 0.005,
    "mlx 6": 1.0,
    "mlx 8": 1.0,
    "gguf Q2_K": 0.0001,
    "gguf Q3_K": 0.0005,
    "gguf Q4_": 0.005,
    "gguf Q5_": 0.005,
    "": 0.0025,
}
AS_FLOATS = ", as floats again"
CASTS = frozenset({"gguf F32", "gguf F16", "gguf BF16"})  # files of plain floats


def packing_of(subject: Subject) -> str | None:
    """How a model's numbers are packed, or were before they were written as floats again; None for plain numbers."""
    if subject.quantization is not None:
        return subject.quantization
    bits = grid_bits(subject.sketch)
    return None if bits is None else f"{bits} bits{AS_FLOATS}"


def bits_of(how: str) -> int | None:
    """Bits of a value, as far as the name of a packing says."""
    words = how.lower().replace("_", " ").split()
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word.isdigit() and after.startswith("bit"):
            return int(word)
    return next((BITS_OF_WORDS[word] for word in words if word in BITS_OF_WORDS), None)


def most_of(limits: Mapping[str, float], how: str) -> float:
    """The limit of the first beginning that a format has; every format begins with the last, which is empty."""
    return next(most for form, most in limits.items() if how.startswith(form))


def shared_scale_values(how: str) -> int:
    """Values that share a scale: where levels lie unevenly, the more of them are seen, the more they tell."""
    return FLOATS_SHARE if how.startswith(("fp8", "compressed-tensors fp8")) else VALUES_OF_A_SCALE
