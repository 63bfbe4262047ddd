"""The crawl's progress on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from lineage.crawler.batch import Batch
    from lineage.crawler.summary import CrawlSummary


class CrawlBar:
    """Shows counts while it is open; called after every page. How many models there are is not known beforehand."""

    def __init__(self) -> None:
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True)
        )
        self._task = self._bar.add_task("listing models")

    def __enter__(self) -> CrawlBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, batch: Batch, summary: CrawlSummary) -> None:
        counts = summary.counts
        megabytes = sum(summary.body_bytes.values()) / 1e6
        self._bar.update(
            self._task,
            description=f"{counts['seen']} models, {counts['read']} weights sampled, {megabytes:.1f} MB, "
            f"{sum(summary.failures.values())} not read",
        )
