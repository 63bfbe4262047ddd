"""A bench's own section of RESULTS.md: written by its script, dated, in the place of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def put_section(heading: str, about: str, rows: Sequence[str]) -> None:
    """Replaces a section, or puts it first.

    Args:
        heading: with its `##`, without a date.
    """
    text = RESULTS.read_text()
    section = "\n".join([f"{heading} ({date.today().isoformat()})", "", about, "", *rows, ""])
    start = text.find(heading)
    if start >= 0:
        end = text.find("\n## ", start + 1)
        text = text[:start] + section + (text[end:] if end >= 0 else "")
    else:
        first = text.index("\n## ") + 1
        text = text[:first] + section + "\n" + text[first:]
    RESULTS.write_text(text)
