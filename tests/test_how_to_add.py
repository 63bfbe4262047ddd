"""`docs/how-to-add.md`, followed to the letter in a copy of the sources: each addition touches the files that the page names and no
other, its own test passes, and the commands show it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.builders import start, tune
from tests.test_structure import PARTS, ROOT

PAGE = (ROOT / "docs" / "how-to-add.md").read_text()
STEP = re.compile(
    r"^(New file|In) `(?P<path>[^`]+)`(?:, (?P<where>[^:\n]+))?:\n\n```\w+\n(?P<code>.*?)^```$", re.M | re.S
)
AT_THE_END = re.compile(r"at the end of `(\w+)`")


@dataclass(frozen=True)
class Section:
    touches: set[str]
    steps: list[re.Match[str]]
    commands: list[str]


def section(title: str) -> Section:
    text = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    (touches,) = re.findall(r"^Touches: (.*)\.$", text, re.M)
    commands = re.findall(r"^\$ python (.*)$", text, re.M)
    return Section(set(re.findall(r"`([^`]+)`", touches)), list(STEP.finditer(text)), commands)


class Copy:
    """The sources, copied, with what a page adds to them."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in (*PARTS, "lineage", "tests", "bench"):
            shutil.copytree(
                ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
            )
        shutil.copy(ROOT / "pyproject.toml", folder)
        self._before = self._hashes()

    def _hashes(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not {"__pycache__", ".pytest_cache"} & set(path.parts)
        }

    def touched(self) -> set[str]:
        now = self._hashes()
        return {name for name in now.keys() | self._before.keys() if now.get(name) != self._before.get(name)}

    def follow(self, steps: Section) -> None:
        for step in steps.steps:
            path, where, code = self.folder / step["path"], step["where"], step["code"]
            if where is None:
                assert not path.exists(), path
                path.write_text(code)
                continue
            lines = path.read_text().splitlines(keepends=True)
            if where == "beside the other imports":
                at = max(i for i, line in enumerate(lines) if line.startswith("from lineage.")) + 1
            else:
                (name,) = AT_THE_END.findall(where)
                begin = next(i for i, line in enumerate(lines) if re.match(rf"{name}\b.*= \($", line))
                at = next(i for i in range(begin, len(lines)) if lines[i].startswith(")"))
                code = textwrap.indent(code.rstrip("\n"), "    ") + ",\n"
            path.write_text("".join([*lines[:at], code, *lines[at:]]))
        for command in steps.commands:
            self.python(*command.split())

    def python(self, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def passes(self, *tests: str) -> None:
        assert " passed" in self.python("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests)

    def lineage(self, *arguments: str) -> str:
        return self.python("-m", "lineage", *arguments)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "sources")


def added(copy: Copy, title: str) -> Section:
    """What the page says of one addition, done; only the files that it names have changed."""
    found = section(title)
    assert found.steps
    copy.follow(found)
    assert copy.touched() == found.touches
    return found


def test_every_addition_of_the_page_is_followed_and_the_readme_names_the_page() -> None:
    assert re.findall(r"^## (.*)$", PAGE, re.M) == ["A signal", "A format", "A question", "A published method"]
    assert "docs/how-to-add.md" in (ROOT / "README.md").read_text()
    counts = {
        title: len(section(title).touches) for title in ("A signal", "A format", "A question", "A published method")
    }
    assert counts == {"A signal": 3, "A format": 3, "A question": 2, "A published method": 3}


def folder_of_pruned(folder: Path) -> Path:
    dense = start(1)
    pruned = {n: np.where(np.abs(v) < np.quantile(np.abs(v), 0.5), 0, v) for n, v in tune(dense, 2).items()}
    folder.mkdir()
    save_file(dense, folder / "dense.safetensors")
    save_file({n: v.astype(np.float32) for n, v in pruned.items()}, folder / "pruned.safetensors")
    return folder


@pytest.mark.slow
def test_a_signal_shows_in_evidence_in_what_decided_and_in_explain(copy: Copy, tmp_path: Path) -> None:
    added(copy, "A signal")
    copy.passes("tests/detect/test_pruning.py")
    models = folder_of_pruned(tmp_path / "models")
    pruned, dense = (str(models / f"{name}.safetensors") for name in ("pruned", "dense"))
    found = json.loads(copy.lineage("scan", str(models), "--threshold", "0.5", "--json"))
    (edge,) = found["edges"]
    assert (edge["child"], edge["parent"]) == ("pruned", "dense")
    assert "pruning" in edge["decided_by"] and edge["evidence"]["pruning_log_odds"] == 5.0
    explained = copy.lineage("explain", pruned, dense, "--threshold", "0.5")
    assert "pruning" in explained and "the child is sparser" in explained


@pytest.mark.slow
def test_a_format_is_read_by_the_commands(copy: Copy, tmp_path: Path) -> None:
    added(copy, "A format")
    copy.passes("tests/crawler/test_npz.py")
    (tmp_path / "models").mkdir()
    first = start(1)
    np.savez(tmp_path / "models" / "first.npz", **first)
    save_file(tune(first, 2), tmp_path / "models" / "second.safetensors")
    found = json.loads(copy.lineage("scan", str(tmp_path / "models"), "--json"))
    assert {model["id"] for model in found["models"]} == {"first.npz", "second"} and not found["unreadable"]


@pytest.mark.slow
def test_a_question_is_listed_and_its_answer_is_kept(copy: Copy, tmp_path: Path) -> None:
    added(copy, "A question")
    (kept,) = [
        rows
        for name, rows in json.loads((copy.folder / "tests/queries/golden.json").read_text()).items()
        if name == "quantized"
    ]
    assert isinstance(kept, list)
    assert "quantized" in {row["name"] for row in json.loads(copy.lineage("ask", "--json"))}
    copy.lineage("graph", "init", "--store", str(tmp_path / "store"))
    asked = copy.lineage("ask", "quantized", "--param", "limit=5", "--json", "--store", str(tmp_path / "store"))
    assert json.loads(asked) == []


@pytest.mark.slow
def test_a_published_method_is_listed_and_decides(copy: Copy, tmp_path: Path) -> None:
    added(copy, "A published method")
    copy.passes("tests/detect/methods/test_smallest_step.py")
    assert "smallest-step" in copy.lineage("methods")
    models = folder_of_pruned(tmp_path / "models")
    found = json.loads(copy.lineage("scan", str(models), "--method", "smallest-step", "--json"))
    assert {edge["evidence"]["reason"] for edge in found["edges"]} >= {"no value of dense is far from it"}
