"""From the schema of an older version to that of this one, step by step.

A step only adds: no model, edge or run is removed by it, and what it adds follows from what is there. The version is written
down when a step is done, and a step can be repeated, so a migration that dies is finished when the store is opened next.
Constraints and indexes are made before the first step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from lineage.graphdb import claims, models
from lineage.graphdb.schema import SCHEMA_VERSION
from lineage.graphdb.statements import statement

if TYPE_CHECKING:
    from lineage.graphdb.connection import Connection

logger = logging.getLogger(__name__)


def migrate(connection: Connection, version: int) -> None:
    """Brings the graph of a store from an older version to `SCHEMA_VERSION`."""
    for step in range(version, SCHEMA_VERSION):
        logger.info("%s: schema version %d becomes %d", connection.url, step, step + 1)
        STEPS[step](connection)
        set_version(connection, step + 1)


def set_version(connection: Connection, version: int) -> None:
    """Writes down which version of the schema the graph has."""
    params = {"version": version, "now": connection.now()}
    connection.transact(lambda execute: execute(statement("schema_version_set"), params))


# version -> what makes the next one of it
STEPS: dict[int, Callable[[Connection], None]] = {
    1: claims.index_names,  # claims are linked by what changed, no longer all of them each time
    2: models.split_reasons,  # how a model is quantized is a field of its own, no longer the beginning of a sentence
    3: lambda connection: None,  # models are found by their weights: an index, which was made before the first step
}
