"""Folders of a sentence encoder that hold a module behind it, such as `2_Dense`: parts of that model, not models."""

from __future__ import annotations

import json
from pathlib import Path

MODULES = "modules.json"
LONGEST_BYTES = 64 * 1024


def modules_behind(folder: Path) -> frozenset[str]:
    """Names of the folders in `modules.json`, the encoders aside; none where there is no such file or it says something else."""
    try:
        with (folder / MODULES).open("rb") as file:
            said = json.loads(file.read(LONGEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return frozenset()
    modules = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    behind = [one.get("path") for one in modules[1:] if not str(one.get("type")).endswith("Transformer")]
    return frozenset(path for path in behind if isinstance(path, str) and path)
