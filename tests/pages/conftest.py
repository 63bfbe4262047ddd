from tests.queries.conftest import store_url  # noqa: F401
from tests.stores import neo4j_url, store  # noqa: F401
