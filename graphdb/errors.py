"""What can go wrong between a person and a store, said in one line each."""

from __future__ import annotations

from lineage.graphdb.schema import Failure


class CypherError(Failure):
    """The engine does not understand a statement.

    Attributes:
        detail: the engine's own words in full, with the caret under the place where it stopped, or None.
    """

    exit_code = 2

    def __init__(self, message: str, detail: str | None = None):
        super().__init__(message, "see https://neo4j.com/docs/cypher-manual/5/ for Cypher")
        self.detail = detail


class WriteRefused(Failure):
    """A statement that would write where only reading is allowed."""

    def __init__(self) -> None:
        super().__init__(
            "refused: this statement writes, and here the graph is only read", "ask with MATCH … RETURN instead"
        )


class OutsideRefused(Failure):
    """A statement that reaches for files or addresses."""

    def __init__(self) -> None:
        super().__init__(
            "refused: this statement may reach outside of the graph, to files, addresses or procedures",
            "ask with MATCH … RETURN instead",
        )


class TooSlow(Failure):
    """The engine gave up after the time that was allowed."""

    def __init__(self, seconds: float):
        super().__init__(
            f"no answer within {seconds:g} s", "narrow the question, bound its paths, or give it a longer --timeout"
        )


class TooLarge(Failure):
    """The questions under way need more memory than the embedded engine has."""

    def __init__(self) -> None:
        super().__init__(
            "the questions under way need more memory than the embedded store has", "ask again, or ask for less at once"
        )


class StoreHeld(Failure):
    """Another process has the embedded store open."""


class StoreDamaged(Failure):
    """The files of the embedded store cannot be read."""


class NoSpace(Failure):
    """The disk is full."""

    def __init__(self, message: str):
        super().__init__(message, "free some space there, and run the same command again: it goes on")


class NotAStore(Failure):
    """The folder holds something else, or cannot be a store."""


class NotReachable(Failure):
    """No Neo4j answers at the address, or it stopped answering."""


class AccessDenied(Failure):
    """Neo4j refuses the user or the password."""
