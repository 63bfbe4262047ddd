"""Saved progress: what was acknowledged is never lost, whatever happens to the process."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lineage.crawler.progress import BadProgress, Progress
from lineage.crawler.state import VisitRecord, Walk
from lineage.graphdb.schema import Status

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DONE = VisitRecord("66", "acme/tiny", "a" * 40, Status.SKETCHED, "d" * 64, "sig", None, None, NOW)


def test_what_was_acknowledged_is_there_after_reopening(tmp_path: Path) -> None:
    adapter = replace(DONE, hub_id="67", status=Status.ADAPTER, claims=(("acme/base", "adapter", "adapter_config"),))
    walk = Walk(NOW, "cursor=x", 500, True, NOW - timedelta(days=1), NOW - timedelta(days=3), 30_000)
    with Progress(tmp_path / "p.sqlite") as progress:
        progress.acknowledge([DONE, adapter], "key", walk)
    with Progress(tmp_path / "p.sqlite") as progress:
        assert progress.known(["66", "67", "68"]) == {"66": DONE, "67": adapter}
        assert progress.walk("key") == walk and progress.walk("other") is None


def test_failures_come_back_longest_ago_first(tmp_path: Path) -> None:
    with Progress(tmp_path / "p.sqlite") as progress:
        failed = [
            replace(DONE, hub_id=str(i), failure="HubDown", checked_at=NOW - timedelta(hours=i)) for i in range(3)
        ]
        progress.acknowledge([DONE, *failed])
        assert [done.hub_id for done in progress.failed(2)] == ["2", "1"]


def test_thousands_can_be_asked_for_at_once(tmp_path: Path) -> None:
    with Progress(tmp_path / "p.sqlite") as progress:
        progress.acknowledge(replace(DONE, hub_id=str(i)) for i in range(2345))
        assert len(progress.known(str(i) for i in range(3000))) == 2345


def test_a_changed_file_has_no_known_hash(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    stat = file.stat()
    with Progress(tmp_path / "p.sqlite") as progress:
        assert progress.file_hash(file) is None
        progress.keep_file_hash(file, stat.st_size, stat.st_mtime_ns, stat.st_ino, "hash")
        assert progress.file_hash(file) == "hash"
        file.write_bytes(b"other")
        assert progress.file_hash(file) is None


def test_a_file_that_is_no_progress_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "p.sqlite").write_bytes(b"something that somebody needs" * 100)
    with pytest.raises(BadProgress, match=r"p\.sqlite"):
        Progress(tmp_path / "p.sqlite")
    assert (tmp_path / "p.sqlite").read_bytes().startswith(b"something that somebody needs")


def test_a_later_version_is_told(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "p.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(BadProgress, match="version 99"):
        Progress(tmp_path / "p.sqlite")


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from lineage.crawler.progress import VisitRecord, Progress, Walk
from lineage.graphdb.schema import Status
now = datetime.now(UTC)
with Progress(Path(sys.argv[1])) as progress:
    for page in range(100_000):
        done = [VisitRecord(f"{page}-{i}", "a/b", "s", Status.UNREADABLE, None, None, "r", None, now) for i in range(20)]
        progress.acknowledge(done, "key", Walk(now, f"page={page}", (page + 1) * 20))
        print(page, flush=True)
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    for attempt in range(4):
        file = tmp_path / f"{attempt}.sqlite"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        last = -1
        for line in writer.stdout:
            last = int(line)
            if last == 5 + 9 * attempt:
                writer.send_signal(signal.SIGKILL)
                break
        rest = writer.stdout.read().split()
        writer.wait()
        last = int(rest[-1]) if rest else last
        with Progress(file) as progress:
            walk = progress.walk("key")
            assert walk is not None and walk.seen >= (last + 1) * 20
            pages = walk.seen // 20
            assert walk.cursor == f"page={pages - 1}"
            assert len(progress.known(f"{p}-{i}" for p in range(pages + 1) for i in range(20))) == walk.seen
