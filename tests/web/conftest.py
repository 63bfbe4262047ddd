from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from lineage.graphdb.store import Store, open_store
from lineage.web.app import application
from lineage.web.explorer import Explorer
from lineage.web.guard import Access, Guard
from lineage.web.survey import Survey
from tests.pages.families import tell
from tests.queries.conftest import store_url  # noqa: F401
from tests.stores import neo4j_url, store, template  # noqa: F401


@pytest.fixture(scope="session")
def told_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An embedded store with the family of `tests.pages.families`; only to be read."""
    folder = tmp_path_factory.mktemp("web") / "store"
    shutil.copytree(template(), folder)
    with open_store(str(folder)) as opened:
        tell(opened)
        yield opened


@pytest.fixture(scope="session")
def explorer(told_store: Store) -> Explorer:
    """The pages over that store, surveyed."""
    survey = Survey(told_store)
    survey.make()
    return Explorer(told_store, survey, None, "a store of the tests")


@pytest.fixture(scope="session")
def app(explorer: Explorer) -> Guard:
    return application(explorer, Access())
