"""What a crawl has done so far, in SQLite, so that any crash costs at most the page that was under way.

A page is acknowledged in one transaction after its models are stored: the cursor moves and the repositories count as done
together, or not at all. Work that was not acknowledged is simply done again. The file is a cache: without it nothing is lost
but time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from threading import RLock

from lineage.crawler.listing import Repository
from lineage.crawler.priority import pack, priority_of, unpack
from lineage.crawler.state import AbsenceCheck, MissingModel, VisitRecord, Walk
from lineage.graphdb.schema import Failure, Status

VERSION = 4
_CLOSED = ("is full", "disk I/O error", "readonly", "unable to open", "is locked")  # what SQLite says of those
_TABLES = """
CREATE TABLE walk (
    key TEXT PRIMARY KEY, cursor TEXT, started_at TEXT NOT NULL, seen INTEGER NOT NULL,
    newest_changes INTEGER NOT NULL, mark TEXT, full_at TEXT, full_seen INTEGER NOT NULL, newest TEXT
) WITHOUT ROWID;
CREATE TABLE done (
    hub_id TEXT PRIMARY KEY, repo_id TEXT NOT NULL, sha TEXT, status TEXT NOT NULL, weights_digest TEXT, signature TEXT,
    reason TEXT, failure TEXT, claims TEXT, with_token INTEGER NOT NULL,
    checked_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX done_failure ON done (failure, checked_at) WHERE failure IS NOT NULL;
CREATE TABLE file (
    path TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, changed_ns INTEGER NOT NULL, inode INTEGER NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID;
"""
_PRESENCE = """
CREATE TABLE presence (
    walk INTEGER NOT NULL, hub_id TEXT NOT NULL, seen REAL NOT NULL,
    missing INTEGER NOT NULL DEFAULT 0, denied_on TEXT, asked_on TEXT, PRIMARY KEY (walk, hub_id)
) WITHOUT ROWID;
CREATE INDEX presence_missing ON presence (walk, asked_on) WHERE missing = 1;
"""
_LINE = """
CREATE TABLE waiting (
    walk INTEGER NOT NULL, hub_id TEXT NOT NULL, priority REAL NOT NULL, repository BLOB NOT NULL, PRIMARY KEY (walk, hub_id)
) WITHOUT ROWID;
CREATE INDEX waiting_first ON waiting (walk, priority DESC);
CREATE TABLE shape (walk INTEGER NOT NULL, shape TEXT NOT NULL, PRIMARY KEY (walk, shape)) WITHOUT ROWID;
"""
_QUANTIZATION = """
ALTER TABLE done ADD COLUMN quantisation TEXT;
UPDATE done SET quantisation = substr(reason, 12), reason = NULL WHERE reason LIKE 'quantised: %';
"""
_SINCE = {
    0: _TABLES + _PRESENCE + _LINE + _QUANTIZATION,
    1: "ALTER TABLE walk ADD COLUMN newest TEXT;" + _PRESENCE + _LINE + _QUANTIZATION,
    2: _LINE + _QUANTIZATION,
    3: _QUANTIZATION,
}


class BadProgress(Failure):
    """The progress file is damaged, or of another version, or cannot be written."""

    def __init__(self, path: Path, why: str):
        super().__init__(
            f"the crawl's progress in {path} cannot be used: {why}", "delete that file: only time is lost, nothing else"
        )
        self.path = path


class NotWritten(Failure):
    """The progress file is sound, and cannot be written: the disk is full, or the folder is closed to us."""

    def __init__(self, path: Path, why: str):
        super().__init__(
            f"the crawl's progress in {path} cannot be written: {why}",
            "free some space there, or check who may write there, and run the same command again: it goes on",
        )


def _failure(path: Path, error: Exception) -> Failure:
    closed = isinstance(error, OSError) or any(said in str(error) for said in _CLOSED)
    return NotWritten(path, str(error)) if closed else BadProgress(path, str(error))


class Progress:
    """Progress of all crawls that share one sketch store. May be used from any thread."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
                if version in _SINCE:
                    for statement in _SINCE[version].split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {VERSION}")
        except (sqlite3.Error, OSError) as error:
            if hasattr(self, "_connection"):
                self._connection.close()
            raise _failure(path, error) from error
        except Failure:
            self._connection.close()
            raise
        if version not in (*_SINCE, VERSION):
            raise BadProgress(path, f"it is of version {version}, this program writes version {VERSION}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def walk(self, key: str) -> Walk | None:
        rows = self._rows(
            "SELECT started_at, cursor, seen, newest_changes, mark, full_at, full_seen, newest FROM walk WHERE key = ?",
            key,
        )
        for started, cursor, seen, by_changes, mark, full_at, full_seen, newest in rows:
            marks = _maybe(mark), _maybe(full_at), full_seen, _maybe(newest)
            return Walk(_time(started), cursor, seen, bool(by_changes), *marks)
        return None

    def known(self, hub_ids: Iterable[str]) -> dict[str, VisitRecord]:
        """What is known of these, by hub_id; absent where nothing is."""
        ids = list(hub_ids)
        found: dict[str, VisitRecord] = {}
        for first in range(0, len(ids), 500):
            some = ids[first : first + 500]
            marks = ",".join("?" * len(some))
            for row in self._rows(f"SELECT * FROM done WHERE hub_id IN ({marks})", *some):
                found[row[0]] = _done(row)
        return found

    def parts(self, hub_id: str) -> list[VisitRecord]:
        """What is known of the models that share this repository."""
        rows = self._rows("SELECT * FROM done WHERE hub_id > ? AND hub_id < ?", hub_id + "/", hub_id + "0")
        return [_done(row) for row in rows]

    def failed(self, limit: int) -> list[VisitRecord]:
        """Those whose failure may have gone away, longest ago first."""
        return [
            _done(row)
            for row in self._rows(
                "SELECT * FROM done WHERE failure IS NOT NULL ORDER BY checked_at, hub_id LIMIT ?", limit
            )
        ]

    def missing(self, key: str, full_at: datetime, today: date, limit: int) -> list[MissingModel]:
        """Models that the last whole pass of a walk did not meet, and for which the Hub was not asked today; longest ago first.

        Args:
            full_at: start of that pass.
        """
        walk = _number(key)
        with self._transaction():
            self._connection.execute(
                "UPDATE presence SET missing = 1 WHERE walk = ? AND seen < ? AND missing = 0",
                (walk, full_at.timestamp()),
            )
        rows = self._rows(
            "SELECT p.denied_on, done.* FROM presence p JOIN done USING (hub_id) WHERE p.walk = ? AND p.missing = 1"
            " AND (p.asked_on IS NULL OR p.asked_on < ?) AND done.status != ? ORDER BY p.asked_on, p.hub_id LIMIT ?",
            walk,
            today.isoformat(),
            Status.GONE.value,
            limit,
        )
        return [MissingModel(_done(row[1:]), date.fromisoformat(row[0]) if row[0] else None) for row in rows]

    def acknowledge(
        self,
        done: Iterable[VisitRecord],
        key: str | None = None,
        walk: Walk | None = None,
        present: Iterable[str] = (),
        asked: Iterable[AbsenceCheck] = (),
        waiting: Iterable[Repository] = (),
    ) -> None:
        """On disk when this returns, all or nothing.

        Args:
            key, walk: the walk's new state, if a walk brought these.
            present: hub_ids that this page of a walk over everything listed; asked: what came of asking for missing ones.
            waiting: repositories that are to be read later; what is done waits no longer.
        """
        done = list(done)
        rows = [
            (
                d.hub_id,
                d.repo_id,
                d.sha,
                d.status.value,
                d.weights_digest,
                d.signature,
                d.reason,
                d.failure,
                json.dumps(d.claims) if d.claims else None,
                d.with_token,
                d.checked_at.isoformat(),
                d.quantization,
            )
            for d in done
        ]
        number = _number(key) if key is not None else 0
        seen = walk.started_at.timestamp() if walk is not None else 0.0
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO done VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)
            if key is not None and walk is not None:
                self._connection.execute(
                    "INSERT OR REPLACE INTO walk"
                    " (key, started_at, cursor, seen, newest_changes, mark, full_at, full_seen, newest)"
                    " VALUES (?,?,?,?,?,?,?,?,?)",
                    (
                        key,
                        walk.started_at.isoformat(),
                        walk.cursor,
                        walk.seen,
                        walk.newest_changes,
                        walk.mark.isoformat() if walk.mark else None,
                        walk.full_at.isoformat() if walk.full_at else None,
                        walk.full_seen,
                        walk.newest.isoformat() if walk.newest else None,
                    ),
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO presence (walk, hub_id, seen) VALUES (?,?,?)",
                    [(number, hub_id, seen) for hub_id in present],
                )
            if key is not None:
                self._connection.executemany(
                    "DELETE FROM waiting WHERE walk = ? AND hub_id = ?", [(number, d.hub_id) for d in done]
                )
                for repository in waiting:
                    self._wait(number, repository)
                self._connection.executemany(
                    "UPDATE presence SET missing = ?, denied_on = ?, asked_on = ?, seen = max(seen, ?)"
                    " WHERE walk = ? AND hub_id = ?",
                    [
                        (
                            a.missing,
                            _day(a.denied_on),
                            _day(a.at),
                            0 if a.missing else a.at.timestamp(),
                            number,
                            a.hub_id,
                        )
                        for a in asked
                    ],
                )

    def first_waiting(self, key: str, limit: int) -> list[Repository]:
        """Those whose turn it is; they wait until they are acknowledged as done."""
        rows = self._rows(
            "SELECT repository FROM waiting WHERE walk = ? ORDER BY priority DESC, hub_id LIMIT ?", _number(key), limit
        )
        return [unpack(packed) for (packed,) in rows]

    def waits(self, key: str) -> int:
        """How many wait to be read."""
        return int(self._rows("SELECT count(*) FROM waiting WHERE walk = ?", _number(key))[0][0])

    def step_back(self, key: str, hub_id: str) -> None:
        """Another one's turn."""
        with self._transaction():
            self._connection.execute(
                "UPDATE waiting SET priority = priority - 8 WHERE walk = ? AND hub_id = ?", (_number(key), hub_id)
            )

    def _wait(self, walk: int, repository: Repository) -> None:
        new_shape = False
        if repository.shape is not None:
            added = self._connection.execute("INSERT OR IGNORE INTO shape VALUES (?,?)", (walk, repository.shape))
            new_shape = added.rowcount == 1
        self._connection.execute(
            "INSERT INTO waiting VALUES (?,?,?,?) ON CONFLICT (walk, hub_id) DO UPDATE"
            " SET repository = excluded.repository",
            (walk, repository.hub_id, priority_of(repository, new_shape), pack(repository)),
        )

    def file_hash(self, path: Path) -> str | None:
        """sha256 of a local file, if it was computed before and the file has not changed since."""
        stat = path.stat()
        rows = self._rows(
            "SELECT sha256 FROM file WHERE path = ? AND size_bytes = ? AND changed_ns = ? AND inode = ?",
            _as_text(path),
            stat.st_size,
            stat.st_mtime_ns,
            stat.st_ino,
        )
        return next((sha256 for (sha256,) in rows), None)

    def keep_file_hash(self, path: Path, size_bytes: int, changed_ns: int, inode: int, sha256: str) -> None:
        """
        Args:
            size_bytes, changed_ns, inode: as they were before the file was read.
        """
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO file VALUES (?,?,?,?,?)",
                (_as_text(path), size_bytes, changed_ns, inode, sha256),
            )

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise _failure(self.path, error) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise _failure(self.path, error) from error


def _done(row: tuple) -> VisitRecord:
    hub_id, repo_id, sha, status, digest, signature, reason, failure, claims, with_token, checked, how = row
    return VisitRecord(
        hub_id,
        repo_id,
        sha,
        Status(status),
        digest,
        signature,
        reason,
        failure,
        _time(checked),
        tuple((base, relation, source) for base, relation, source in json.loads(claims or "[]")),
        bool(with_token),
        how,
    )


def _number(key: str) -> int:
    """A walk's key as a number, which costs less in millions of rows."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7])


def _day(day: date | None) -> str | None:
    return f"{day:%Y-%m-%d}" if day else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _maybe(text: str | None) -> datetime | None:
    return _time(text) if text else None


def _as_text(path: Path) -> str:
    """The same for the same path, also where it is no UTF-8."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
