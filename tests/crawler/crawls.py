"""Crawls of a loopback Hub, as tests of the whole crawl want them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lineage.crawler.batch import Batch
from lineage.crawler.crawl import crawl
from lineage.crawler.hub import Hub
from lineage.crawler.progress import Progress
from lineage.crawler.walk import CrawlOptions
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Model
from lineage.reading import StoringReader
from tests.crawler.toys import hub_at
from tests.fake_hub import FakeHub

DAY = datetime(2026, 10, 1, tzinfo=UTC)


class Crawl:
    """Crawls with everything acknowledged, and keeps what came."""

    def __init__(self, fake: FakeHub, sketches: SketchStore, hub: Hub | None = None, folder: Path | None = None):
        self.fake, self.sketches, self.hub = fake, sketches, hub or hub_at(fake)
        self.progress_file = (folder or Path(sketches.address)) / "progress.sqlite"
        self.now = DAY

    def run(self, options: CrawlOptions | None = None, pages: int | None = None) -> list[Batch]:
        """pages: stop as a killed process would, without acknowledging the last of so many pages."""
        batches = []
        self.now += timedelta(seconds=1)
        self.fake.reset_counts()
        options = options or CrawlOptions()
        with Progress(self.progress_file) as progress:
            for batch in crawl(options, StoringReader(self.sketches), progress, self.hub, now=lambda: self.now):
                batches.append(batch)
                if pages is not None and len(batches) == pages:
                    break
                batch.acknowledge()
        return batches

    def models(self, options: CrawlOptions | None = None) -> dict[str, Model]:
        return {model.repo_id: model for batch in self.run(options) for model in batch.models}

    def counts(self, options: CrawlOptions | None = None) -> Counter[str]:
        return sum((batch.counts for batch in self.run(options)), Counter())

    def requests(self) -> dict[str, int]:
        return {kind: count.requests for kind, count in self.fake.counts().items() if count.requests}
