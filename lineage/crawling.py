"""From the Hub or a folder into the graph and the sketch store: one crawl, page by page."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lineage.crawler.summary import CrawlSummary
from lineage.reading import StoringReader
from lineage.weights_dates import with_weights_dates

if TYPE_CHECKING:
    from lineage.crawler.batch import Batch
    from lineage.crawler.hub import Hub
    from lineage.crawler.walk import CrawlOptions
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.store import Store


CRAWL_WAIT_SECONDS = 3600.0  # a window of the Hub's quotas is five minutes


CRAWL_RETRIES = 4


CRAWL_ANSWER_SECONDS = 120.0  # for a page of a thousand files each


FAILURES_TOLD = 20


Report = Callable[["Batch", CrawlSummary], None]


def crawl_hub(endpoint: str | None) -> Hub:
    """A Hub for long crawls: waits for the quota's next window."""
    from lineage.crawler.hub import Hub
    from lineage.crawler.pacing import Pacer

    return Hub(endpoint, pacer=Pacer(CRAWL_WAIT_SECONDS), retries=CRAWL_RETRIES, answer_seconds=CRAWL_ANSWER_SECONDS)


def crawl_into(
    store: Store,
    sketches: SketchStore,
    progress_file: Path,
    options: CrawlOptions,
    *,
    hub: Hub | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    report: Report = lambda batch, summary: None,
    summary: CrawlSummary | None = None,
) -> CrawlSummary:
    """Crawl, and store models and claims as they come.

    Args:
        sketches: where samples are kept, see detect/sketch_store.py.
        progress_file: where to go on after a crash; one a sketch store.
        hub: None makes one at HF_ENDPOINT, if the options need one.
        should_stop: asked after every page; then the crawl ends there, and the next one goes on from there.
        report: called after every page.
        summary: filled as the crawl goes on, for callers who want to know how far one came that failed.
    """
    from lineage.crawler.budget import BudgetSpent
    from lineage.crawler.crawl import crawl as crawl_pages
    from lineage.crawler.progress import Progress

    def known_identity(repo_id: str) -> str | None:
        model = store.model(repo_id)
        return model.hub_id if model is not None and not model.hub_id.startswith("local:") else None

    reader = StoringReader(sketches)
    summary = summary or CrawlSummary.begun()
    if hub is None and options.folder is None:
        hub = crawl_hub(None)

    def keep(batch: Batch) -> int:
        models = with_weights_dates(batch.models, store, sketches, datetime.now(UTC))
        claims = store.upsert_with_claims(models, batch.declarations)
        batch.acknowledge()
        sketches.compact_if_due()
        return claims

    with Progress(progress_file) as progress, ThreadPoolExecutor(1, "store") as storing:
        pages = crawl_pages(options, reader, progress, hub, identify=known_identity)
        kept: Future[int] | None = None  # one page is stored while the next one is fetched and looked at
        try:
            for batch in pages:
                summary.declarations += kept.result() if kept else 0
                kept = storing.submit(keep, batch)
                if not batch.more_pages:
                    kept.result()
                summary.counts.update(batch.counts)
                summary.failures.update(failure.kind for failure in batch.failures)
                summary.first_failures += batch.failures[: FAILURES_TOLD - len(summary.first_failures)]
                summary.count_traffic(hub)
                report(batch, summary)
                if should_stop():
                    summary.stopped = "interrupted"
                    break
            summary.declarations += kept.result() if kept else 0
        except BudgetSpent as spent:
            summary.stopped = spent.message
            summary.declarations += kept.result() if kept else 0
        finally:
            pages.close()
            summary.end(hub)
    sketches.compact_if_due(at_end=True)
    store.link_declarations()
    summary.end(hub)
    return summary
