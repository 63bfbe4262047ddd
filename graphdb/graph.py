"""The graph as the rest of the program sees it: models, claims, edges and runs, on either engine, in the same Cypher.

Every write is a batch in one transaction, keyed by identity, and can be repeated: the same input gives the same graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from lineage.graphdb import claims, edges, migrations, models
from lineage.graphdb.connection import Connection, Execute, T
from lineage.graphdb.edges import EdgeCounts
from lineage.graphdb.records import Row, run_of, run_row
from lineage.graphdb.schema import SCHEMA_VERSION, Declaration, Edge, Failure, Model, Relation, Run, Verdict
from lineage.graphdb.schema.rows import claims_of, model_of, name_key
from lineage.graphdb.statements import constraints, statement

logger = logging.getLogger(__name__)

HEADS_KEPT = 64  # of an architecture
HEADS_WALKED = 1_000  # models of an architecture of which none are kept


class NotOurGraph(Failure):
    """The database holds something that is not a lineage graph, or one of a newer version."""


class LineageGraph:
    """A lineage graph over a connection. A context manager; `close` closes the connection."""

    def __init__(self, connection: Connection):
        self.connection = connection

    @property
    def url(self) -> str:
        return self.connection.url

    @property
    def clock(self) -> Callable[[], datetime]:
        """Says what time it is; every moment that is written comes from here."""
        return self.connection.clock

    @clock.setter
    def clock(self, clock: Callable[[], datetime]) -> None:
        self.connection.clock = clock

    def read(
        self,
        cypher: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        """See `Connection.read`."""
        return self.connection.read(cypher, params, timeout_seconds=timeout_seconds, limit=limit)

    def stream(self, cypher: str, params: Mapping[str, Any] | None = None) -> Iterator[Row]:
        """See `Connection.stream`."""
        return self.connection.stream(cypher, params)

    def transact(self, work: Callable[[Execute], T]) -> T:
        """See `Connection.transact`."""
        return self.connection.transact(work)

    def close(self) -> None:
        self.connection.close()

    def now(self) -> str:
        """See `Connection.now`."""
        return self.connection.now()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The schema -------------------------------------------------------------------------------------------------------

    def init(self) -> None:
        """Makes an empty graph, or brings one of an older version up to date. Can be repeated.

        Raises:
            NotOurGraph: if the database holds something else, or a newer version.
        """
        version = self.check()
        if version == SCHEMA_VERSION:
            return
        for text in constraints():
            self.connection.define(text)
        if version is None:
            migrations.set_version(self.connection, SCHEMA_VERSION)
            logger.info("made an empty graph, schema version %d, at %s", SCHEMA_VERSION, self.url)
        else:
            before = self.counts()
            migrations.migrate(self.connection, version)
            compared = _compared(before, self.counts())
            logger.info("%s: upgraded from schema version %d to %d: %s", self.url, version, SCHEMA_VERSION, compared)

    def check(self) -> int | None:
        """Version of the schema in the database, None where it is empty.

        Raises:
            NotOurGraph: if the database holds something else, or a newer version.
        """
        rows = self.read(statement("schema_version"))
        if not rows:
            if self.read(statement("any_node")):
                raise NotOurGraph(
                    f"{self.url} holds a graph that is not a lineage graph", "use an empty folder or an empty database"
                )
            return None
        version: int = rows[0]["version"]
        if version > SCHEMA_VERSION:
            raise NotOurGraph(
                f"{self.url} was written by a newer lineage (schema {version}, this one knows {SCHEMA_VERSION})",
                "update lineage",
            )
        return version

    def counts(self) -> dict[str, int]:
        """Number of nodes by kind, models by status (`status.<name>`) and edges by relation."""
        found = {
            "models": self._count("count_models"),
            "architectures": self._count("count_architectures"),
            "runs": self._count("count_runs"),
        }
        for row in self.read(statement("count_status")):
            found[f"status.{row['status']}"] = row["count"]
        for relation in Relation:
            found[str(relation)] = self._count("count_relation", relation)
        return found

    def _count(self, name: str, relation: Relation | None = None) -> int:
        count: int = self.read(statement(name, relation))[0]["count"]
        return count

    # Models and what they claim ---------------------------------------------------------------------------------------

    def upsert_models(self, rows: Iterable[Model]) -> int:
        """Writes models as of now; of two with one identity the later counts. Renames keep the old name. Returns their number."""
        return models.upsert(self.connection, rows)

    def weights_seen(self, hub_ids: Iterable[str]) -> Mapping[str, str]:
        """hub_id -> digest of the weights that each of these models had when they were seen last."""
        rows = self.read(statement("model_existing"), {"hub_ids": list(hub_ids)})
        return {row["hub_id"]: row["weights_seen"] for row in rows if row["weights_seen"]}

    def upsert_declarations(self, child_hub_ids_seen: Iterable[str], declarations: Iterable[Declaration]) -> int:
        """Replaces the claims of exactly the models seen, also by none. Returns the number of claims now kept.

        Raises:
            ValueError: if a claim is of a model that is not among those seen.
        """
        return claims.upsert(self.connection, child_hub_ids_seen, declarations)

    def upsert_with_claims(self, rows: Iterable[Model], declarations: Iterable[Declaration]) -> int:
        """Writes models as `upsert_models` does, together with all that they claim: a model and its claims in one transaction.

        The claims replace what the models claimed before; of a model that is gone, they stay as they were.

        Returns:
            The number of claims given.
        Raises:
            ValueError: if a claim is of a model that is not among the rows.
        """
        latest = list(rows)
        by_child = claims.by_child((model.hub_id for model in latest), declarations)
        models.upsert(self.connection, latest, by_child)
        return sum(map(len, by_child.values()))

    def link_declarations(self) -> int:
        """Makes `DECLARES_BASE` edges of the claims whose base is a known model; supersedes those no longer claimed.

        Returns the number of claim edges there are now.
        """
        return claims.link(self.connection)

    def model(self, name_or_id: str) -> Model | None:
        """The model of an identity, a name (letter case ignored) or a name it once had."""
        params = {"hub_id": name_or_id, "name_key": name_key(name_or_id)}
        found = self.read(statement("model_lookup"), params)
        if not found:
            return None
        rank = min(row["rank"] for row in found)
        first = [row for row in found if row["rank"] == rank]
        first.sort(key=lambda row: row["model"]["hub_id"])
        if rank == 2:  # several models may have had the name: the last one counts
            first.sort(key=lambda row: row["until"], reverse=True)
        return model_of(first[0]["model"])

    def models(self, signature: str | None = None) -> Iterator[Model]:
        """All models, or those of one architecture, streamed."""
        if signature is None:
            rows = self.stream(statement("models"))
        else:
            rows = self.stream(statement("models_of_signature"), {"signature": signature})
        return (model_of(row["model"]) for row in rows)

    def models_of_weights(self, weights_digest: str) -> list[Model]:
        """Models with these weight files, by identity."""
        rows = self.read(statement("models_of_weights"), {"weights_digest": weights_digest})
        return [model_of(row["model"]) for row in rows]

    def adapters(self, at_once: int = 500) -> Iterator[list[tuple[Model, list[Declaration], str | None]]]:
        """Every adapter with its claims and the digest that `set_adapters_decided` got, so many at once, by identity.

        Identities are read first and in one go, so that the graph may be written to between the batches.
        """
        ids = [row["hub_id"] for row in self.stream(statement("adapter_ids"))]
        for start in range(0, len(ids), at_once):
            rows = self.read(statement("adapters"), {"hub_ids": ids[start : start + at_once]})
            models = [model_of(row["model"]) for row in rows]
            yield [
                (model, claims_of(model.hub_id, row["bases"], row["relations"], row["sources"]), row["decided"])
                for model, row in zip(models, rows, strict=True)
            ]

    def signatures(self) -> Iterator[tuple[str, int]]:
        """Architectures with the number of their models, largest first."""
        return ((row["signature"], row["count"]) for row in self.read(statement("signatures")))

    # Edges and runs ---------------------------------------------------------------------------------------------------

    def replace_edges(
        self, scope: Iterable[str], new_edges: Iterable[Edge], verdicts: Iterable[Verdict], run_id: str
    ) -> EdgeCounts:
        """What a run found about the children in scope becomes current; what it no longer found becomes history.

        Each child is changed in one transaction, so a run that dies leaves its old or its new state. Children outside
        the scope are not touched.

        Raises:
            ValueError: if an edge or a verdict is of a child outside the scope.
            UnknownModel: if an edge names a model that is not in the graph.
        """
        return edges.replace(self.connection, scope, new_edges, verdicts, run_id)

    def decided(self) -> dict[str, str]:
        """Architecture -> digest of what was compared when it was last decided about, as `set_decided` got it."""
        return {row["signature"]: row["decided"] for row in self.read(statement("architecture_decided"))}

    def sizes(self) -> dict[str, tuple[str, ...]]:
        """Architecture -> sizes of the matrices in its blocks, as `set_decided` got them."""
        return {row["signature"]: tuple(row["sizes"].split()) for row in self.read(statement("architecture_sizes"))}

    def heads(self, signature: str, at_most: int) -> list[tuple[Model, str | None]]:
        """Some models of one architecture with the answers about them, those without a known parent first.

        Of an architecture that was decided about, those that were kept then: however many it has, that is a lookup.
        """
        kept = self.read(statement("heads_kept"), {"signature": signature})
        if kept:
            rows = self.read(statement("heads"), {"hub_ids": kept[0]["heads"], "limit": at_most})
        else:
            params = {"signature": signature, "limit": at_most, "walked": HEADS_WALKED}
            rows = self.read(statement("heads_of_signature"), params)
        return [(model_of(row["model"]), row["answer"]) for row in rows]

    def set_decided(self, signature: str, digest: str, sizes: Iterable[str] = ()) -> None:
        """Keeps that an architecture was decided about, and from what. Written after the edges.

        Args:
            sizes: of the matrices in its blocks, as `renamed.size_words` gives them.
        """
        params = {"signature": signature, "decided": digest, "sizes": " ".join(sizes)}

        def write(execute: Execute) -> None:
            execute(statement("architecture_decided_set"), params)
            execute(statement("heads_set"), {"signature": signature, "limit": HEADS_KEPT})

        self.transact(write)

    def set_adapters_decided(self, digests: Mapping[str, str]) -> None:
        """Keeps that adapters were decided about, by identity, and from what. Written after their edges."""
        rows = [{"hub_id": hub_id, "decided": digest} for hub_id, digest in digests.items()]
        if rows:
            self.transact(lambda execute: execute(statement("adapters_decided_set"), {"rows": rows}))

    def record_run(self, run: Run) -> None:
        """Writes a run, by its identity: once when it starts, again when it ends."""
        self.transact(lambda execute: execute(statement("run_upsert"), run_row(run)))

    def runs(self, limit: int = 20) -> list[Run]:
        """The latest runs, newest first."""
        return [run_of(row) for row in self.read(statement("runs"), {"limit": limit})]


def _compared(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Counts that are not 0 as `models 16`, and where an upgrade changed one, as `models 16 -> 15`."""
    return ", ".join(
        f"{name} {before.get(name, 0):,}" + ("" if before.get(name, 0) == count else f" -> {count:,}")
        for name, count in after.items()
        if count or before.get(name)
    )
