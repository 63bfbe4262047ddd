from tests.stores import neo4j_url, store, store_url  # noqa: F401
