"""What only a person at a terminal sees: colours, progress, the hint at the end; and the shell's completion of names."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.cli.world import World

pytestmark = pytest.mark.slow

RED = "\x1b[31m"


def at_terminal(world: World, *arguments: str, **environment: str) -> str:
    """What a command writes to a terminal, stdout and stderr as they come."""
    ours, theirs = pty.openpty()
    whole = {**world.lineage.environment, "TERM": "xterm-256color", "COLUMNS": "160", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "lineage", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=whole
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    process.wait(timeout=60)
    return b"".join(parts).decode()


def test_what_contradicts_is_red_unless_no_colour_is_asked_for(world: World) -> None:
    assert f"{RED}contradicts" in at_terminal(world, "declared", "--only", "contradicts")
    plain = at_terminal(world, "declared", "--only", "contradicts", NO_COLOR="1")
    assert "contradicts" in plain and RED not in plain
    assert f"{RED}contradicted" in at_terminal(world, "verify", "acme/ca")
    assert RED not in at_terminal(world, "verify", "acme/ca", NO_COLOR="1")


def test_a_hint_and_a_spinner_are_for_people_only(world: World) -> None:
    said = at_terminal(world, "who-is-parent", "acme/ca")
    assert "next: `lineage report acme/ca`" in said
    piped = world.lineage("who-is-parent", "acme/ca")
    assert "next:" not in piped.stdout + piped.stderr
    assert "comparing them" in at_terminal(world, "explain", "acme/ca", "acme/c")
    assert world.lineage("explain", "acme/ca", "acme/c").stderr == ""


@pytest.mark.parametrize("typed, offered", [("acme/c", "acme/ca"), ("STRANG", "acme/stranger"), ("nobody/", "")])
def test_names_of_models_are_completed(world: World, typed: str, offered: str) -> None:
    environment = {
        **world.lineage.environment,
        "_LINEAGE_COMPLETE": "bash_complete",
        "COMP_WORDS": f"lineage tree {typed}",
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv = ['lineage']; from lineage.commands import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    plain = [line.partition(",")[2] for line in done.stdout.splitlines() if line.startswith("plain,")]
    assert (offered in plain) if offered else not plain
