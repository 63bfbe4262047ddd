"""What an engine has to do: five methods. `embedded.py` and `neo4j.py` implement them; `graph.py` asks either."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from lineage.graphdb.records import Row, iso

T = TypeVar("T")
Execute = Callable[[str, Mapping[str, Any]], list[Row]]  # one statement inside a transaction -> its rows


class Connection(ABC):
    """An open database. A context manager; `close` gives the files or connections back.

    Attributes:
        url: the address or folder it was opened with.
        clock: says what time it is; every moment that is written comes from here.
    """

    url: str
    clock: Callable[[], datetime]

    @abstractmethod
    def read(
        self,
        cypher: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        """Rows of a statement that only reads; the engine refuses one that writes.

        Args:
            params: values for `$names`: scalars, lists and maps of them.
            timeout_seconds: after this time the engine gives up.
            limit: rows after this many are not fetched.
        Returns:
            A dict a row, columns in order; moments are aware datetimes, nodes and relationships maps.
        Raises:
            WriteRefused, CypherError, TooSlow: all of them failures of `lineage.graphdb.errors`.
        """

    @abstractmethod
    def stream(self, cypher: str, params: Mapping[str, Any] | None = None) -> Iterator[Row]:
        """The rows of a reading statement, fetched as they are asked for, so that millions need no memory.

        Writing to the store in between is allowed; whether the stream sees it is not said.
        """

    @abstractmethod
    def transact(self, work: Callable[[Execute], T]) -> T:
        """Runs `work` in one transaction: all of it or nothing. It may run more than once, so it must be repeatable."""

    @abstractmethod
    def define(self, cypher: str) -> None:
        """Runs a statement that creates a constraint or an index."""

    @abstractmethod
    def close(self) -> None:
        """Gives the files or connections back. Can be called again."""

    def now(self) -> str:
        """This moment as the statements take it."""
        moment = iso(self.clock())
        assert moment is not None
        return moment

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)
