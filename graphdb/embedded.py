"""The embedded store: a folder with an ArcadeDB database (native build, in this process).

    FOLDER/graph        the database
    FOLDER/owner.json   who has it open, for the message to others; the engine's own lock decides
    FOLDER/log          what the engine logs

One process owns the files. Every statement runs in an explicit transaction, and a commit is on the disk when it returns.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from lineage.graphdb import owner
from lineage.graphdb.bucket_files import cut_short
from lineage.graphdb.connection import Connection, Execute, T
from lineage.graphdb.errors import (
    CypherError,
    NoSpace,
    NotAStore,
    OutsideRefused,
    StoreDamaged,
    StoreHeld,
    TooLarge,
    TooSlow,
    WriteRefused,
)
from lineage.graphdb.read_only import reaches_outside
from lineage.graphdb.records import Element, Row
from lineage.graphdb.schema import Failure, home_path

HEAP = "-Xmx1g"  # the engine would take half of the machine; a quarter of it holds pages
OURS = {"graph", "sketches", "log", "owner.json"}  # what a store's folder may hold besides hidden files
COLLISIONS = 4  # times that a transaction is tried while other threads make the same new nodes
FLUSH = "yes_nometadata"  # fdatasync at commit; the engine's default is none
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)")


class EmbeddedConnection(Connection):
    """A lineage graph in a folder of this machine. Raises a `Failure` when it cannot be opened."""

    def __init__(self, folder: str, *, create: bool, clock: Callable[[], datetime]):
        self.url = folder
        self.clock = clock
        self.folder = home_path(folder)
        self._files = self.folder / "graph"
        self._database: Any = None
        with _without("numpy"):
            self._prepare(create)
            self._database = self._open()
        owner.write(self.folder, clock())

    @classmethod
    def over(cls, database: Any, folder: str, *, clock: Callable[[], datetime]) -> EmbeddedConnection:
        """A store over a database that is open in this process already and that its opener closes."""
        store = cls.__new__(cls)
        store.url, store.clock = folder, clock
        store.folder = home_path(folder)
        store._files, store._database = store.folder / "graph", database
        return store

    # Opening ----------------------------------------------------------------------------------------------------------

    def _prepare(self, create: bool) -> None:
        """Looks at the folder, and makes an empty database where it is missing."""
        if self.folder.exists() and not self.folder.is_dir():
            raise NotAStore(f"{self.folder} is a file, not the folder of a store", "give --store a folder")
        if not self._files.exists():
            if not create:
                raise NotAStore(
                    f"there is no lineage graph at {self.folder}", "make one: `lineage graph init`, or `lineage sync`"
                )
            strangers = sorted(entry.name for entry in self._entries() if entry.name not in OURS)
            if strangers:
                raise NotAStore(
                    f"{self.folder} holds something else ({strangers[0]}): no store is made in it",
                    "give --store an empty or a new folder",
                )
        engine = self._engine()
        if not self._files.exists():
            self._make(engine)
        elif (short := cut_short(self._files)) is not None:
            raise StoreDamaged(
                f"the store {self.folder} has lost data: {self._files.name}/{short} was cut short",
                "restore a copy, or move the folder away and crawl again",
            )
        elif not engine.database_exists(str(self._files)):
            raise NotAStore(
                f"{self._files} is not a database of the embedded store", "give --store another folder, or move it away"
            )

    def _entries(self) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from (entry for entry in self.folder.iterdir() if not entry.name.startswith("."))

    def _engine(self) -> Any:
        return engine_module(self.folder)

    def _make(self, engine: Any) -> None:
        """Makes the database beside its place and moves it there whole, so that a crash leaves no half of one."""
        beside = self.folder / f".graph-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            engine.create_database(str(beside)).close()
            with suppress(FileExistsError, NotADirectoryError):  # another process was faster: theirs is used
                beside.rename(self._files)
        except (OSError, engine.ArcadeDBError) as error:
            if not self._files.exists():
                reason = error.strerror if isinstance(error, OSError) else _last_line(error)
                if "No space left" in str(reason) or "Disk quota" in str(reason):
                    raise NoSpace(f"no space left on the disk of {self.folder} for a store") from error
                raise NotAStore(
                    f"cannot make a store at {self.folder}: {reason}", "give --store another folder"
                ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _open(self) -> Any:
        engine = self._engine()
        try:
            database = engine.open_database(str(self._files))
        except engine.ArcadeDBError as error:
            raise open_failure(error, self.folder) from error
        database.set_wal_flush(FLUSH)
        # a process that died while it asked with a time limit left the limit behind
        with suppress(OSError, ValueError, KeyError):
            settings = json.loads((self._files / "configuration.json").read_text(encoding="utf-8"))
            if settings["configuration"]["command.timeout"]:
                set_timeout(database, 0)
        return database

    # What a store does itself -----------------------------------------------------------------------------------------

    def read(
        self,
        cypher: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        if reaches_outside(cypher):
            raise OutsideRefused
        database = self._database
        if timeout_seconds is not None:
            set_timeout(database, max(1, round(timeout_seconds * 1000)))
        try:
            with database.transaction():
                result = database.query("opencypher", cypher, dict(params or {}))
                if limit is None:
                    return [_plain(row) for row in result.to_list()]
                rows: list[Row] = []
                for row in result:
                    if len(rows) == limit:
                        result.close()
                        break
                    rows.append(_plain(row.to_dict()))
                return rows
        except self._engine().ArcadeDBError as error:
            failure = _failure(error, timeout_seconds, self.folder)
            if failure is error:  # found while the rows are computed: division by zero, an argument of the wrong type
                failure = CypherError(f"the statement failed: {_last_line(error)}")
            raise failure from error
        finally:
            if timeout_seconds is not None:
                set_timeout(database, 0)

    def stream(self, cypher: str, params: Mapping[str, Any] | None = None) -> Iterator[Row]:
        try:
            for row in self._database.query("opencypher", cypher, dict(params or {})):
                yield _plain(row.to_dict())
        except self._engine().ArcadeDBError as error:
            raise _failure(error, None, self.folder) from error

    def transact(self, work: Callable[[Execute], T]) -> T:
        def execute(cypher: str, params: Mapping[str, Any]) -> list[Row]:
            given = {name: _Rows(value) if type(value) is list else value for name, value in params.items()}
            return [_plain(row) for row in self._database.command("opencypher", cypher, given).to_list()]

        for tries_left in reversed(range(COLLISIONS)):
            try:
                result: T = self._database.run_in_transaction(lambda: work(execute))
                return result
            except self._engine().ArcadeDBError as error:
                if not (tries_left and _collided(error)):
                    raise _failure(error, None, self.folder) from error
        raise AssertionError("the last try returns or raises")

    def define(self, cypher: str) -> None:
        try:
            self._database.command("opencypher", cypher).to_list()
        except self._engine().ArcadeDBError as error:
            raise _failure(error, None, self.folder) from error

    def close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()
            owner.remove(self.folder)


# What the engine says where another process has the files: the lock is taken, or it was released while logs are still open.
_HELD = ("locked by another process", "already open by another process")


class _Rows(list[Any]):
    """Rows for a statement. The engine's package looks into every value of a plain list for keys that are no text; ours all are."""


def engine_module(folder: Path) -> Any:
    """The engine's module. Its settings are read once in a process, when it is first used: the log goes to that first store."""
    os.environ.setdefault("ARCADEDB_NATIVE_ISOLATE_ARGS", HEAP)
    os.environ.setdefault(
        "ARCADEDB_NATIVE_CMD", "0"
    )  # its other way of passing parameters keeps 4,096 of them for ever
    os.environ.setdefault("ARCADEDB_LOG_CONSOLE", "0")
    os.environ.setdefault("ARCADEDB_LOG_DIR", str(folder.absolute() / "log"))
    logging.getLogger("arcadedb").setLevel(logging.ERROR)  # that a store is read-only we say ourselves
    import arcadedb

    return arcadedb


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Keeps a module that the engine can do without from being loaded with it: numpy is a third of a lookup's time."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def open_failure(error: Exception, folder: Path) -> Failure:
    """Why the engine does not open a store, for a person."""
    chain = " ".join(str(part) for pair in getattr(error, "java_chain", None) or () for part in pair) or str(error)
    if "already in use" in chain:
        return StoreHeld(f"the store {folder} is already open in this process", "close it first")
    if any(words in chain for words in _HELD):
        return StoreHeld(
            f"the store {folder} is held by {owner.read(folder) or 'another process'}",
            "wait for it; for several programs at once there is `lineage graph serve`, or a Neo4j",
        )
    files = folder / "graph"
    if "Read-only file system" in chain or (files.exists() and not os.access(files, os.W_OK)):
        return NotAStore(
            f"the store {folder} cannot be written, and the engine writes there even where it only reads",
            "copy it to a place that you may write to, and give that to --store; or serve it elsewhere",
        )
    return StoreDamaged(
        f"the store {folder} cannot be read: {_last_line(error)}",
        "restore a copy, or move the folder away and crawl again",
    )


def set_timeout(database: Any, milliseconds: int) -> None:
    """The engine knows no time limit for one statement, only one for the database."""
    database.command("sql", f"ALTER DATABASE `arcadedb.command.timeout` {milliseconds}").to_list()


def _failure(error: Exception, timeout_seconds: float | None, folder: Path | None = None) -> Exception:
    """The failure that an engine's error means to a person; the error itself where it is a bug of ours."""
    native = getattr(error, "native", None) or {}
    chain = [(native.get("cls", ""), native.get("error", "")), *(getattr(error, "java_chain", None) or ())]
    for name, message in chain:
        kind = str(name).rpartition(".")[2]
        if kind == "QueryNotIdempotentException":
            return WriteRefused()
        if kind == "TimeoutException" and timeout_seconds is not None:
            return TooSlow(timeout_seconds)
        if kind == "QueryHeapBudgetExceededException" or "OutOfMemoryError" in f"{kind} {message}":
            return TooLarge()
        if kind in ("CommandParsingException", "CommandSemanticException", "CommandParameterMissingException"):
            first, _, rest = str(message).partition("\n")
            return CypherError(first, str(message) if rest else None)
        if "No space left" in str(message) or "Disk quota" in str(message) or "File too large" in str(message):
            return NoSpace(
                f"no space left on the disk of the store{f' {folder}' if folder else ''}: "
                "the last batch is not stored, all before it are"
            )
        if kind == "SerializationException":
            return StoreDamaged(f"a record of the store cannot be read: {message}", "restore a copy, or crawl again")
    return error


def _collided(error: Exception) -> bool:
    """Whether another thread made a node with the same key first: once that is done, the same transaction finds it."""
    native = getattr(error, "native", None) or {}
    names = [native.get("cls", ""), *(name for name, _ in getattr(error, "java_chain", None) or ())]
    return any(str(name).endswith("DuplicatedKeyException") for name in names)


def _plain(value: Any) -> Any:
    """A value without anything of the engine: moments as aware datetimes, nodes and relationships as maps of their properties."""
    if isinstance(value, str):
        return datetime.fromisoformat(value) if value[4:5] == "-" and MOMENT.fullmatch(value) else value
    if isinstance(value, dict):
        if "@rid" not in value:
            return {name: _plain(item) for name, item in value.items()}
        properties = {name: _plain(value[name]) for name in sorted(value) if not name.startswith("@")}
        kind = str(value.get("@type", ""))  # a relationship is in capitals, a label is not
        key = str(value["@rid"])
        if kind.isupper():
            return Element(properties, type=kind, key=key)
        return Element(properties, labels=[kind], key=key)
    if isinstance(value, (list, tuple)):  # most are long and of text: a call for each would be most of reading them
        return [item if isinstance(item, str) and item[4:5] != "-" else _plain(item) for item in value]
    return value


def _last_line(error: Exception) -> str:
    chain = getattr(error, "java_chain", None)
    return " ".join(str(chain[-1][1] if chain else error).split())[:200]
