from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage.detect.sketch_store import SketchStore
from tests.crawler.crawls import Crawl
from tests.fake_hub import FakeHub


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def sketches(tmp_path: Path) -> SketchStore:
    return SketchStore(tmp_path / "sketches")


@pytest.fixture
def crawler(fake: FakeHub, sketches: SketchStore) -> Crawl:
    return Crawl(fake, sketches)
