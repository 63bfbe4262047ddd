"""`python -m tests.wheel_check WHEEL`: the wheel installs one top-level name, and works beside packages of others' making.

`crawler`, `detect`, `graphdb`, `queries` and `lineage` are all names of distributions of others. Those four are put beside the
installed wheel as modules that fail when they are imported; of the fifth, which shares our name, the files are put over and under ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

OTHERS = ("crawler", "detect", "graphdb", "queries")
THEIRS = {"__init__.py": "from lineage.individual import Individual\n", "individual.py": "class Individual: ...\n"}
DATA = ("py.typed", "queries/roots.cypher", "graphdb/cypher/constraints.cypher", "detect/detector/detector.safetensors")


def check(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lineage"}, tops
    assert len(names) == len(set(names)) and not [file for file in DATA if f"lineage/{file}" not in names]
    with tempfile.TemporaryDirectory() as home:
        for theirs_last in (False, True):
            place = Path(home) / ("theirs-last" if theirs_last else "ours-last")
            for name in OTHERS:
                place.mkdir(exist_ok=True)
                (place / f"{name}.py").write_text("raise ImportError('of others, and not asked for')\n")
            steps = [lambda place=place: theirs(place), lambda place=place: ours(place, wheel)]
            for step in reversed(steps) if theirs_last else steps:
                step()
            store = Path(home) / f"store-{theirs_last}"
            run(place, "-m", "lineage", "graph", "init", "--store", str(store))
            assert run(place, "-m", "lineage", "roots", "--store", str(store), "--json").strip() == "[]"
            assert run(place, "-m", "lineage", "--version").startswith("lineage, version ")
            if not theirs_last:
                assert run(place, "-c", "import lineage; print(callable(lineage.detect))").strip() == "True"
    print(f"{wheel.name}: one top-level name, works beside others")


def theirs(place: Path) -> None:
    folder = place / "lineage"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in THEIRS.items():
        (folder / name).write_text(text)


def ours(place: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(place)


def run(place: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(place)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=place, env=environment, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    check(Path(sys.argv[1]).absolute())
