"""Weights in formats that are not read, by the names of their files: so that they are named with a reason and not passed over."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".nemo", ".th", ".pdparams", ".skops")
_ENDINGS = {
    ".gguf": "GGUF",
    ".ggml": "GGML",
    ".llamafile": "llamafile",
    ".exl2": "ExLlamaV2",
    ".keras": "Keras",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".msgpack": "Flax",
    ".tflite": "TensorFlow Lite",
    ".litertlm": "LiteRT",
    ".task": "MediaPipe",
    ".pb": "TensorFlow",
    ".onnx": "ONNX",
    ".ort": "ONNX Runtime",
    ".ot": "tch-rs",
    ".pt2": "exported by PyTorch",
    ".distcp": "PyTorch's distributed checkpoint",
    ".mlmodel": "Core ML",
    ".mlpackage": "Core ML",
    ".engine": "TensorRT",
    ".mnn": "MNN",
    ".rknn": "RKNN",
}
_NAMES = {
    "GGML": r"ggml[._-].*\.bin",
    "OpenVINO": r"openvino_.*\.(bin|xml)",
    "TensorFlow.js": r"group\d+-shard\d+of\d+(\.bin)?",
    "TensorFlow": r".*\.data-\d+-of-\d+",
}
_NUMPY = re.compile(r"((pytorch_)?model|weights|params|adapters?)([._-].*)?\.npz", re.IGNORECASE)  # others are data
PARALLEL_PART = re.compile(
    r"consolidated\.\d\d\.pth"
)  # of several: a part of each tensor, as Llama's first files were cut
_BY_NAME = tuple((re.compile(pattern, re.IGNORECASE), called) for called, pattern in _NAMES.items())
_TRAINER = re.compile(
    r"(optimizer|optim|scheduler|rng_state|random_states|training_args|scaler)\b.*|.*_optim_states\..*|.*[._-]optimizer\.\w+",
    re.IGNORECASE,
)
BUNDLES = (".mlpackage",)  # folders that are one file to those who use them


def trainer_state(name: str) -> bool:
    """Whether a file is what a trainer keeps beside a model, by its name."""
    return _TRAINER.match(name) is not None


def named_as_another(name: str) -> str | None:
    """The format of a file that ends as files of other formats do; None for any other file."""
    return next((called for pattern, called in _BY_NAME if pattern.fullmatch(name)), None)


def looks_like_weights(name: str) -> bool:
    """Whether a file is of a format that is not read, by its name."""
    return _format(name) is not None or name.lower().endswith((".pkl", ".joblib", ".nemo", ".pdparams", ".skops"))


def _format(name: str) -> str | None:
    if _NUMPY.fullmatch(name):
        return "NumPy"
    by_ending = (called for end, called in _ENDINGS.items() if name.lower().endswith(end))
    return named_as_another(name) or next(by_ending, None)


def unread_weights(paths: Collection[str]) -> str | None:
    """What some files are of which none can be read; None where none looks like weights."""
    by_format: dict[str, list[str]] = {}
    pickles = []
    for path in sorted(paths):
        name = path.rpartition("/")[2]
        if trainer_state(name):
            continue
        called = _format(name)
        if called is not None:
            by_format.setdefault(called, []).append(path)
        elif PARALLEL_PART.fullmatch(name):
            by_format.setdefault("each tensor cut in parts, for several devices", []).append(path)
        elif name.lower().endswith(_PICKLES):
            pickles.append(path)
    if pickles:
        return f"only pickle weights ({_some(pickles)}), which are never opened"
    if not by_format:
        return None
    shown = "; ".join(f"{_some(files)}: {called}" for called, files in by_format.items())
    return f"only weights in formats that are not read ({shown})"


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (" …" if len(paths) > 3 else "")
