from pathlib import Path

import pytest

from tests.stores import KINDS, neo4j_url, place, served_url, store  # noqa: F401


@pytest.fixture(params=[kind for kind in KINDS if kind.values != ("served",)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An embedded store and a Neo4j: what serving changes, the tests of the stores see."""
    return place(request.param, request, tmp_path)
