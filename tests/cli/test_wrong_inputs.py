"""Fifty wrong inputs for every command: never a traceback, one line that says what is wrong, the exit code of the contract."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import click
import pytest

from lineage.commands import main
from tests.cli.wrong_inputs import HOSTILE, commands, wrong_invocations

pytestmark = pytest.mark.slow

EACH = int(os.environ.get("LINEAGE_WRONG_INPUTS", "50"))
COMMANDS = list(commands())


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, no store, no network."""
    import huggingface_hub.constants as constants

    monkeypatch.chdir(tmp_path)
    for name in ("LINEAGE_SKETCHES", "LINEAGE_CONFIG", "NEO4J_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LINEAGE_STORE", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_wrong_inputs_are_one_line_and_the_right_exit_code(
    path: tuple[str, ...], command: click.Command, nowhere: None, capfd: pytest.CaptureFixture[str]
) -> None:
    for wrong in islice(wrong_invocations(path, command), EACH):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(wrong.words))
        code, (out, err) = int(ended.value.code or 0), capfd.readouterr()
        case = f"{wrong.words!r} ({wrong.why}) -> {code}\n{out}{err}"
        assert code in wrong.codes, case
        assert "Traceback" not in err and not set(HOSTILE) & set("\x1b\x07\x9b\u202e") & set(out + err), case
        lines = err.splitlines()
        if code == 2 and not err.startswith("lineage: "):
            assert sum(line.startswith("Error: ") for line in lines) == 1 and out == "", case
        elif code in (1, 2, 4):
            said = [line for line in lines if line.startswith("lineage: ")]
            assert len(said) == 1 and len(lines) - lines.index(said[0]) <= 2, case
