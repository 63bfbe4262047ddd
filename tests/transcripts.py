"""The transcripts in README.md and docs/: read, run again, compared, and rewritten (`make readme`, after `make demo`).

A block of ```console after the line `<!-- transcript: demo -->` holds commands after `$ ` and what they print in the demo's folder, about
its graph. After `<!-- transcript: hub -->` the graph is a new one, and the Hub is a loopback one with the demo's models. The table
between `<!-- evidence -->` and `<!-- end -->` is made of `lineage.pages.evidence_terms`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lineage.pages.evidence_terms import MEANINGS

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(
    r"(?P<top><!-- transcript: (?P<world>demo|hub) -->\n```console\n)(?P<rows>.*?)(?=^```$)", re.DOTALL | re.MULTILINE
)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?!\w)")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|(?<=revision )[0-9a-f]{12}")  # and the commit of those bytes
DURATION = re.compile(r"(?<=, )\d+(\.\d+)? s$", re.MULTILINE)
EVIDENCE = re.compile(r"(?<=<!-- evidence -->\n).*?(?=<!-- end -->)", re.DOTALL)
TOLERANCE = 0.1  # of numbers: training is the same to the bit on one kind of processor only


@dataclass(frozen=True)
class Transcript:
    """A command of a page, and what the page says that it prints."""

    page: Path
    world: str
    command: str
    written: str


def transcripts() -> list[Transcript]:
    """All of them, page by page."""
    return [
        Transcript(page, block["world"], command, written)
        for page in PAGES
        for block in BLOCK.finditer(page.read_text())
        for command, written in pairs(block["rows"])
    ]


def pairs(block: str) -> Iterator[tuple[str, str]]:
    """(command, output) in order."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def run(command: str, store: Path, world: str = "demo") -> str:
    """What a command line prints on stdout in the demo's folder, with the demo's graph or, in the world `hub`, with a new one.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    if world == "demo":
        return _printed(command, store.parent, {"LINEAGE_STORE": str(store.absolute())})
    from bench.demo import published
    from tests.fake_hub import FakeHub

    with tempfile.TemporaryDirectory() as fresh, FakeHub() as hub:
        published(store.parent / "family", hub)
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": f"{fresh}/huggingface", "LINEAGE_STORE": f"{fresh}/store"}
        return _printed(command, store.parent, {**settings, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})


def _printed(command: str, folder: Path, settings: dict[str, str]) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LINEAGE_"))}
    environment = {**kept, **settings, "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{Path(sys.executable).parent.absolute()}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def alike(written: str, printed: str) -> bool:
    """Whether two outputs say the same: equal but for moments, durations, line breaks, and numbers that differ a little."""

    def timeless(text: str) -> str:
        return DURATION.sub("@", MOMENT.sub("@", text))

    def shape(text: str) -> str:
        return " ".join(NUMBER.sub("#", timeless(text)).split())

    def numbers(text: str) -> list[float]:
        return [float(number) for number in NUMBER.findall(timeless(text))]

    near = (abs(a - b) <= TOLERANCE * max(1, abs(a)) for a, b in zip(numbers(written), numbers(printed), strict=False))
    return shape(written) == shape(printed) and all(near)


def evidence_table() -> str:
    """What an edge's evidence may hold, as docs/evidence.md lists it."""
    rows = ("| entry | values | means |", "| --- | --- | --- |")
    return "".join(
        f"{row}\n"
        for row in ("", *rows, *(f"| `{name}` | {m.values} | {m.meaning} |" for name, m in MEANINGS.items()), "")
    )


def main() -> None:
    """Rewrites README.md and the pages of docs/."""
    store = ROOT / ".demo" / "store"
    if not store.exists():
        raise SystemExit("there is no .demo/store: run `make demo` first")

    def renewed(match: re.Match[str]) -> str:
        rows = (f"$ {command}\n{run(command, store, match['world'])}" for command, _ in pairs(match["rows"]))
        return match["top"] + "".join(rows)

    for page in PAGES:
        before = page.read_text()
        after = EVIDENCE.sub(lambda _: evidence_table(), BLOCK.sub(renewed, before))
        if after != before:
            page.write_text(after)


if __name__ == "__main__":
    main()
