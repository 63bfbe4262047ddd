"""The steps of action.yml, run as GitHub runs them, with a `lineage` that says how it was called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ACTION = yaml.safe_load((Path(__file__).parent.parent / "action.yml").read_text())


def run_last_step(place: Path, code: int = 0, **given: str) -> tuple[int, list[str], str]:
    """Exit code, words that `lineage` was called with, and the outputs."""
    inputs = {name: str(entry["default"]) for name, entry in ACTION["inputs"].items()} | given
    (place / "bin").mkdir()
    (place / "bin" / "python").symlink_to(sys.executable)
    (place / "bin" / "lineage").write_text(f'#!/bin/bash\nprintf "%s\\0" "$@" > "{place}/called"\nexit {code}\n')
    (place / "bin" / "lineage").chmod(0o755)
    step = ACTION["runs"]["steps"][-1]

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)

    environment = {**os.environ, **{name: filled(value) for name, value in step["env"].items()}}
    environment |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(place / "output")}
    (place / "output").write_text("")
    script = filled(step["run"])
    assert script == step["run"], "inputs go through the environment: a script would run what they hold"
    ended = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=place, env=environment, check=False
    )
    called = (place / "called").read_text().split("\0")[:-1] if (place / "called").exists() else []
    return ended.returncode, called, (place / "output").read_text()


@pytest.mark.parametrize(
    "text, words",
    [
        ("--declared", ["--declared"]),
        ("", []),
        ("--declared\n--no-unknown\n", ["--declared", "--no-unknown"]),
        (
            "--parent org/base\n\n  --licence-policy 'my licences.yaml'",
            ["--parent", "org/base", "--licence-policy", "my licences.yaml"],
        ),
        ("--parent $(touch\u00a0x) *", ["--parent", "$(touch\u00a0x)", "*"]),
    ],
)
def test_all_arguments_reach_the_gate(text: str, words: list[str], tmp_path: Path) -> None:
    code, called, output = run_last_step(tmp_path, arguments=text, model="-my model")
    assert code == 0 and output == "outcome=holds\n"
    assert called == ["verify", *words, "--sarif", "lineage.sarif", "--junit", "lineage.xml", "--", "-my model"]


def test_arguments_that_cannot_be_parted_fail(tmp_path: Path) -> None:
    code, called, output = run_last_step(tmp_path, arguments="--parent 'org/base")
    assert code != 0 and not called and not output


@pytest.mark.parametrize(
    "code, output", [(5, "outcome=contradicted\n"), (3, "outcome=cannot tell\n"), (1, ""), (4, "")]
)
def test_the_step_ends_as_the_gate_does(code: int, output: str, tmp_path: Path) -> None:
    assert run_last_step(tmp_path, code)[::2] == (code, output)


def test_the_program_is_that_of_the_checkout_that_the_action_lies_in() -> None:
    (install,) = [step for step in ACTION["runs"]["steps"] if "pip install" in step.get("run", "")]
    assert install["run"].endswith('"$GITHUB_ACTION_PATH"')
