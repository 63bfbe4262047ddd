"""Whether the files of the embedded store are as long as its engine left them: it reads a file that was cut short without a word, and the
records behind the cut are missing in answers.

A bucket's file, `NAME.NUMBER.PAGE_BYTES.vVERSION.bucket`, is a row of whole pages. `statistics.json`, written where a database is closed in
order, has the number of records of each bucket; which pages it has is not kept anywhere, so that a file cut between two pages is not
noticed. What a process that died left behind is no matter of this: its log is there, and the engine replays it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

_BUCKET = re.compile(r"(?P<name>.+)\.\d+\.(?P<page_bytes>\d+)\.v\d+\.bucket")


def cut_short(files: Path) -> str | None:
    """Name of a file of a database that lacks its end; None where all are whole, or where the last process did not close it."""
    try:
        kept = json.loads((files / "statistics.json").read_text(encoding="utf-8"))
        entries = list(files.iterdir())
    except (OSError, ValueError):
        return None
    if any(entry.suffix == ".wal" for entry in entries) or not isinstance(kept, dict):
        return None
    for entry in sorted(entries):
        if match := _BUCKET.fullmatch(entry.name):
            page_bytes, size = int(match["page_bytes"]), entry.stat().st_size
            if size % page_bytes or (not size and _records(kept.get(match["name"]))):
                return entry.name
    return None


def _records(about: object) -> int:
    """The number of records of a bucket."""
    match about:
        case {"count": int(count)}:
            return count
    return 0
