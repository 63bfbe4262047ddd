from tests.stores import neo4j_url, served_url, store, store_url  # noqa: F401
