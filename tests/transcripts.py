"""The transcripts in README.md: read, run again, compared, and rewritten (`make readme`, after `make demo`).

A block of ```console after the line `<!-- transcript: demo -->` holds commands after `$ ` and what they print about the demo's family.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"(?<=<!-- transcript: demo -->\n```console\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?!\w)")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|(?<=revision )[0-9a-f]{12}")  # and the commit of those bytes
TOLERANCE = 0.1  # of numbers: training is the same to the bit on one kind of processor only


def pairs(block: str) -> Iterator[tuple[str, str]]:
    """(command, output) in order."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def run(command: str, store: Path) -> str:
    """What a command line prints on stdout, with the demo's graph.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    environment = {**os.environ, "LINEAGE_STORE": str(store), "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(command, shell=True, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def alike(written: str, printed: str) -> bool:
    """Whether two outputs say the same: equal but for moments, line breaks, and numbers that differ a little."""

    def shape(text: str) -> str:
        return " ".join(NUMBER.sub("#", MOMENT.sub("@", text)).split())

    def numbers(text: str) -> list[float]:
        return [float(number) for number in NUMBER.findall(MOMENT.sub("@", text))]

    near = (abs(a - b) <= TOLERANCE * max(1, abs(a)) for a, b in zip(numbers(written), numbers(printed), strict=False))
    return shape(written) == shape(printed) and all(near)


def main() -> None:
    """Rewrites README.md."""
    store = ROOT / ".demo" / "store"
    if not store.exists():
        raise SystemExit("there is no .demo/store: run `make demo` first")

    def renewed(match: re.Match[str]) -> str:
        return "".join(f"$ {command}\n{run(command, store)}" for command, _ in pairs(match[0]))

    README.write_text(BLOCK.sub(renewed, README.read_text()))


if __name__ == "__main__":
    main()
