"""A folder in which no model is found: what is read, and which of its files may be weights of a kind that is not read."""

from __future__ import annotations

import os
from pathlib import Path

from lineage.crawler.folder import shown_path
from lineage.graphdb.schema import NoSuchModel, counted

READ_KINDS = ".safetensors, PyTorch (.bin, .pt, .pth, .ckpt), .gguf and .onnx files are read; no pickle is run"
ENDINGS = (
    ".lz4", ".zst", ".tar.gz", ".tgz", ".ftz", ".vec", ".dat", ".weights", ".model", ".rnn", ".rnnn", ".nnue", ".npz", ".npy", ".mat",
    ".caffemodel", ".params", ".param", ".nn", ".net", ".wts", ".f32", ".f16", ".rten", ".pbtxt", ".xml.gz", ".json.gz", ".bin.gz",
)  # fmt: skip
LEAST_BYTES = 4096
MOST_FILES, MOST_KINDS = 20_000, 4  # that are looked at, that are named


def no_model_under(folder: Path) -> NoSuchModel:
    """The failure for a folder without a model, which names files that may be weights all the same."""
    kinds = perhaps_weights(folder)
    seen = "".join(
        f"; {counted(len(names), 'file')} that may be weights: {names[0]}{' …' if len(names) > 1 else ''} ({ending} is not read)"
        for ending, names in list(kinds.items())[:MOST_KINDS]
    )
    return NoSuchModel(f"no model under {folder}{seen}", READ_KINDS)


def perhaps_weights(folder: Path) -> dict[str, list[str]]:
    """Ending -> paths of files that may be weights, by their names and sizes."""
    found: dict[str, list[str]] = {}
    looked_at = 0
    for place, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            looked_at += 1
            if looked_at > MOST_FILES:
                return found
            ending = next((end for end in ENDINGS if name.lower().endswith(end)), None)
            path = Path(place) / name
            if ending is not None and path.is_file() and path.stat().st_size >= LEAST_BYTES:
                found.setdefault(ending, []).append(shown_path(path.relative_to(folder)))
    return found
