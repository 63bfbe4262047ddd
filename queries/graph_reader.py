"""What questions need of a graph: to read. Any `LineageGraph` will do; queries do not know how it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from lineage.graphdb.schema import Model


class GraphReader(Protocol):
    """A graph that is only read.

    Attributes:
        clock: says what time it is.
    """

    @property
    def clock(self) -> Callable[[], datetime]: ...

    def read(self, cypher: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a statement that only reads."""

    def stream(self, cypher: str, params: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The same rows, fetched as they are asked for."""

    def model(self, name_or_id: str) -> Model | None:
        """The model of an identity, a name (letter case ignored) or a name it once had."""

    def models_of_weights(self, weights_digest: str) -> list[Model]:
        """Models whose weight files have a digest."""
