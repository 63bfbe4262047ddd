"""`lineage crawl`, and what other commands need of the crawler: `crawl_hub` and `crawl_into`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.crawl_options import crawl_options, make_options, service_options
from lineage.commands.messages import note
from lineage.commands.options import endpoint_option, sketches_option, store_option
from lineage.crawler.summary import CrawlSummary, summary_text
from lineage.crawling import Report, crawl_hub, crawl_into
from lineage.graphdb.schema import Failure
from lineage.locations import sketches_folder, state_folder

if TYPE_CHECKING:
    from lineage.crawler.batch import Batch
    from lineage.crawler.metrics import Metrics
    from lineage.crawler.walk import CrawlOptions
    from lineage.detect.sketch_store import SketchStore


@contextmanager
def reported(metrics: Metrics | None) -> Iterator[Report]:
    """A bar on a terminal, and metrics where they are wanted; gives the function that `crawl_into` takes as `report`."""
    reports: list[Report] = []
    with ExitStack() as opened:
        if sys.stderr.isatty():
            from lineage.crawler.progress_bar import CrawlBar

            reports.append(opened.enter_context(CrawlBar()))
        if metrics is not None:
            reports.append(lambda batch, summary: metrics.page(batch, summary.requests, summary.body_bytes))

        def report(batch: Batch, summary: CrawlSummary) -> None:
            for each in reports:
                each(batch, summary)

        yield report


def metrics_at(port: int | None, host: str) -> Metrics | None:
    """Metrics served at a port of an address of this machine, None where none are wanted.

    Raises:
        PortTaken: the port is in use.
    """
    if port is None:
        return None
    from lineage.crawler.metrics import Metrics

    metrics = Metrics()
    shown = f"[{host}]" if ":" in host else host
    note(f"metrics at http://{shown}:{metrics.serve(port, host)}/metrics")
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
    metrics_host: str,
    as_json: bool,
    **what: Any,
) -> None:
    """Read models from the Hub or a folder: models and claims into the graph, small samples of weights on disk.

    What is known already is not read again, and a crawl that was stopped goes on where it was.

    Example: lineage crawl --author openai-community --limit 20
    """
    from lineage.crawler.lock import one_at_a_time
    from lineage.crawler.schedule import Interruption, told_to_stop
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.store import open_store
    from lineage.recording import recorded

    options = make_options(store, endpoint=endpoint, **what)
    kept, folder = SketchStore(sketches_folder(store, sketches)), state_folder(store, sketches)
    if dry_run:
        tell_plan(options, kept, folder, endpoint, as_json)
        return
    hub = crawl_hub(endpoint) if options.folder is None else None
    summary, metrics = CrawlSummary.begun(), metrics_at(metrics_port, metrics_host)
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
            raise Interruption
    click.echo(json.dumps(summary.as_dict()) if as_json else summary_text(summary))
    end_if_nothing_was_read(summary)


class NothingRead(Failure):
    """A crawl in which every model failed."""


def end_if_nothing_was_read(summary: CrawlSummary) -> None:
    """
    Raises:
        NothingRead: there were models, and not one could be read; what was found is stored and printed all the same.
    """
    if summary.nothing_read:
        failed = ", ".join(f"{n} {kind}" for kind, n in summary.failures.most_common())
        raise NothingRead(f"no model could be read: {failed}", "the next pass tries again; -v says what happened")


def tell_plan(options: CrawlOptions, sketches: SketchStore, state: Path, endpoint: str | None, as_json: bool) -> None:
    """Print what a crawl would cost; nothing is left behind.

    Raises:
        click.UsageError: there is no listing to be walked.
    """
    from tempfile import TemporaryDirectory

    from lineage.crawler.plan import plan_crawl, plan_folder, plan_text
    from lineage.crawler.progress import Progress
    from lineage.reading import StoringReader

    if options.repos is not None:
        raise click.UsageError("--dry-run is about the listing of a Hub or about --folder, not about --repos")
    if options.folder is not None:
        plan = plan_folder(options.folder)
    else:
        file = state / "progress.sqlite"
        with TemporaryDirectory() as empty, Progress(file if file.exists() else Path(empty) / file.name) as progress:
            plan = plan_crawl(options, StoringReader(sketches), progress, crawl_hub(endpoint))
    click.echo(json.dumps(plan.as_dict()) if as_json else plan_text(plan))
