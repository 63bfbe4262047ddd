"""`lineage crawl`, and what other commands need of the crawler: `crawl_hub` and `crawl_into`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli_options import crawl_options, endpoint_option, make_options, service_options
from crawler.cli_summary import CrawlSummary, summary_text
from detect.cli import sketches_folder, sketches_option, state_folder
from graphdb.cli import store_option

if TYPE_CHECKING:
    from crawler.batch import Batch
    from crawler.hub import Hub
    from crawler.look import Sketcher
    from crawler.metrics import Metrics
    from crawler.walk import CrawlOptions
    from detect.sketch_store import SketchStore
    from graphdb.store import Store

CRAWL_WAIT_SECONDS = 3600.0  # a window of the Hub's quotas is five minutes
CRAWL_RETRIES = 4
CRAWL_ANSWER_SECONDS = 120.0  # for a page of a thousand files each
FAILURES_TOLD = 20

Report = Callable[["Batch", CrawlSummary], None]


def crawl_hub(endpoint: str | None) -> Hub:
    """A Hub for long crawls: waits for the quota's next window."""
    from crawler.hub import Hub
    from crawler.pacing import Pacer

    return Hub(endpoint, pacer=Pacer(CRAWL_WAIT_SECONDS), retries=CRAWL_RETRIES, answer_seconds=CRAWL_ANSWER_SECONDS)


def crawl_into(
    store: Store,
    sketches: Sketcher,
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
    from crawler.budget import BudgetSpent
    from crawler.crawl import crawl as crawl_pages
    from crawler.progress import Progress

    def known_identity(repo_id: str) -> str | None:
        model = store.model(repo_id)
        return model.hub_id if model is not None and not model.hub_id.startswith("local:") else None

    summary = summary or CrawlSummary.begun()
    if hub is None and options.folder is None:
        hub = crawl_hub(None)

    def keep(batch: Batch) -> int:
        claims = store.upsert_with_claims(batch.models, batch.declarations)
        batch.acknowledge()
        sketches.compact_if_due()
        return claims

    with Progress(progress_file) as progress, ThreadPoolExecutor(1, "store") as storing:
        pages = crawl_pages(options, sketches, progress, hub, identify=known_identity)
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
                    summary.stopped = "told to stop"
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


@contextmanager
def reported(metrics: Metrics | None) -> Iterator[Report]:
    """A bar on a terminal, and metrics where they are wanted; gives the function that `crawl_into` takes as `report`."""
    reports: list[Report] = []
    with ExitStack() as opened:
        if sys.stderr.isatty():
            from crawler.bar import CrawlBar

            reports.append(opened.enter_context(CrawlBar()))
        if metrics is not None:
            reports.append(lambda batch, summary: metrics.page(batch, summary.requests, summary.body_bytes))

        def report(batch: Batch, summary: CrawlSummary) -> None:
            for each in reports:
                each(batch, summary)

        yield report


def metrics_at(port: int | None) -> Metrics | None:
    """Metrics served at a port of this machine, None where none are wanted.

    Raises:
        PortTaken: nobody can listen there.
    """
    if port is None:
        return None
    from crawler.metrics import Metrics

    metrics = Metrics()
    click.echo(f"metrics at http://127.0.0.1:{metrics.serve(port)}/metrics", err=True)
    return metrics


@click.command()
@store_option
@sketches_option
@endpoint_option
@crawl_options
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def crawl(
    store: str,
    sketches: str | None,
    endpoint: str | None,
    dry_run: bool,
    metrics_port: int | None,
    as_json: bool,
    **what: Any,
) -> None:
    """Read models from the Hub or a folder: models and claims into the graph, small samples of weights on disk.

    What is known already is not read again, and a crawl that was stopped goes on where it was.

    Example: lineage crawl --author openai-community --limit 20
    """
    from crawler.cli_runs import recorded
    from crawler.lock import one_at_a_time
    from crawler.schedule import Stopped, told_to_stop
    from detect.sketch_store import SketchStore
    from graphdb.store import open_store

    options = make_options(store, **what)
    kept, folder = SketchStore(sketches_folder(store, sketches)), state_folder(store, sketches)
    if dry_run:
        tell_plan(options, kept, folder, endpoint, as_json)
        return
    hub = crawl_hub(endpoint) if options.folder is None else None
    summary, metrics = CrawlSummary.begun(), metrics_at(metrics_port)
    with (
        told_to_stop() as stop,
        one_at_a_time(folder, "crawl"),
        metrics.pass_under_way() if metrics else nullcontext(),
        open_store(store) as opened,
        recorded(opened, "crawl") as run,
        summary.kept_in(run.summary),
        reported(metrics) as report,
    ):
        progress = folder / "progress.sqlite"
        crawl_into(opened, kept, progress, options, hub=hub, should_stop=stop.is_set, report=report, summary=summary)
        if stop.is_set():
            raise Stopped
    click.echo(json.dumps(summary.as_dict()) if as_json else summary_text(summary))


def tell_plan(options: CrawlOptions, sketches: SketchStore, state: Path, endpoint: str | None, as_json: bool) -> None:
    """Print what a crawl would cost; nothing is left behind.

    Raises:
        click.UsageError: there is no listing to be walked.
    """
    from tempfile import TemporaryDirectory

    from crawler.plan import plan_crawl, plan_text
    from crawler.progress import Progress

    if options.folder is not None or options.repos is not None:
        raise click.UsageError("--dry-run is about the listing of a Hub, not about --repos or --folder")
    file = state / "progress.sqlite"
    with TemporaryDirectory() as empty, Progress(file if file.exists() else Path(empty) / file.name) as progress:
        plan = plan_crawl(options, sketches, progress, crawl_hub(endpoint))
    click.echo(json.dumps(plan.as_dict()) if as_json else plan_text(plan))
