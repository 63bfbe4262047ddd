"""`lineage crawl`, and what other commands need of the crawler: the `--endpoint` option and `crawl_into`."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detect.cli import sketches_folder, sketches_option
from graphdb.cli import store_option
from graphdb.schema import Failure, Status

if TYPE_CHECKING:
    from crawler.crawl import Batch, RepoFailure, Sketcher
    from crawler.hub import Hub
    from crawler.walk import CrawlOptions
    from graphdb.store import Store

CRAWL_WAIT_SECONDS = 3600.0  # a window of the Hub's quotas is five minutes
CRAWL_RETRIES = 4
CRAWL_ANSWER_SECONDS = 120.0  # for a page of a thousand files each
FAILURES_TOLD = 20


class SizeInBytes(click.ParamType):
    """A number of bytes, as in `1000000`, `500M`, `2G` or `2GB` (powers of ten)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)\s*([kMGT]?)B?", str(value).strip())
        size = int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " ")) if match else 0
        if size < 1:
            self.fail(f"{value!r} is no size: write 500M or 2G", param, ctx)
        return size


class BadList(Failure):
    """A file of repository names that cannot be used."""


@dataclass(slots=True)
class CrawlSummary:
    """What one crawl did. `counts` as in crawler.crawl.Batch; `requests` and `body_bytes` by kind of request.
    `stopped` says why the crawl ended early, if its budget or a signal ended it."""

    started_at: datetime
    finished_at: datetime | None = None
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    first_failures: list[RepoFailure] = field(default_factory=list)
    declarations: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    body_bytes: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def seconds(self) -> float:
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()

    def count_traffic(self, hub: Hub | None) -> None:
        """What was asked so far."""
        if hub is not None:
            traffic = hub.traffic.summary()
            self.requests, self.body_bytes = traffic["requests"], traffic["bytes"]

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return {
            "models": dict(sorted(self.counts.items())),
            "declarations": self.declarations,
            "failures": dict(self.failures),
            "failed": [{"repo_id": f.repo_id, "kind": f.kind, "message": f.message} for f in self.first_failures],
            "requests": self.requests,
            "bytes": self.body_bytes,
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
        }


def endpoint_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--endpoint URL`: the Hub to ask. The command gets it as `endpoint`, None if HF_ENDPOINT or the default counts."""
    return click.option(
        "--endpoint", metavar="URL", help="Address of the Hub [env HF_ENDPOINT, default https://huggingface.co]."
    )(command)


def crawl_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what to crawl, for `crawl` and `sync`; `make_options` turns them into CrawlOptions."""
    for option in reversed(
        [
            click.option("--author", metavar="A", help="Only models of this user or organisation."),
            click.option("--search", metavar="S", help="Only models whose name holds this text."),
            click.option(
                "--filter", "filters", metavar="TAG", multiple=True, help="Only models with this tag; repeatable."
            ),
            click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many models."),
            click.option(
                "--since",
                type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
                metavar="DATE",
                help="Only what changed on or after this day (UTC).",
            ),
            click.option(
                "--repos",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                metavar="FILE",
                help="Only the repositories named in this file, one a line.",
            ),
            click.option(
                "--folder",
                type=click.Path(exists=True, path_type=Path),
                metavar="DIR",
                help="Models on disk in place of the Hub: any folder, or Hugging Face's cache.",
            ),
            click.option(
                "--workers",
                type=click.IntRange(1, 64),
                default=4,
                show_default=True,
                metavar="N",
                help="Repositories read at the same time.",
            ),
            click.option(
                "--max-requests", type=click.IntRange(1), metavar="N", help="Stop before more requests than this."
            ),
            click.option(
                "--max-bytes", type=SizeInBytes(), metavar="SIZE", help="Stop after so many bytes: 500M, 2G, 1000000."
            ),
            click.option(
                "--max-minutes",
                type=click.FloatRange(0, min_open=True),
                metavar="M",
                help="Stop after so many minutes. With a budget, what is most used or says its base is read first.",
            ),
        ]
    ):
        command = option(command)
    return command


def make_options(
    store_url: str = "",
    author: str | None = None,
    search: str | None = None,
    filters: tuple[str, ...] = (),
    limit: int | None = None,
    since: datetime | None = None,
    repos: Path | None = None,
    folder: Path | None = None,
    workers: int = 4,
    max_requests: int | None = None,
    max_bytes: int | None = None,
    max_minutes: float | None = None,
) -> CrawlOptions:
    """
    Raises:
        click.UsageError: options that contradict each other. BadList: the file names no repositories.
    """
    from crawler.walk import CrawlOptions

    filtered = author or search or filters or since
    if (repos is not None) + (folder is not None) + bool(filtered) > 1:
        raise click.UsageError("give --repos, or --folder, or filters of the listing, not several of them")
    return CrawlOptions(
        author=author,
        search=search,
        filters=filters,
        limit=limit,
        since=since.replace(tzinfo=since.tzinfo or UTC) if since else None,
        repos=read_names(repos) if repos is not None else None,
        folder=folder,
        workers=workers,
        scope=store_url,
        max_requests=max_requests,
        max_bytes=max_bytes,
        max_minutes=max_minutes,
    )


def read_names(file: Path) -> tuple[str, ...]:
    """Names of repositories, one a line, each once; empty lines and what follows `#` do not count."""
    try:
        lines = [line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadList(f"{file} cannot be read as a list of names: {error}", "one org/name a line") from None
    names = tuple(dict.fromkeys(line for line in lines if line))
    if not names:
        raise BadList(f"{file} names no repositories", "write one org/name a line")
    return names


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
    report: Callable[[Batch, CrawlSummary], None] = lambda batch, summary: None,
) -> CrawlSummary:
    """Crawl, and store models and claims as they come.

    Args:
        sketches: where samples are kept, see detect/sketch_store.py.
        progress_file: where to go on after a crash; one a sketch store.
        hub: None makes one at HF_ENDPOINT, if the options need one.
        should_stop: asked after every page; then the crawl ends there, and the next one goes on from there.
        report: called after every page.
    """
    from crawler.budget import BudgetSpent
    from crawler.crawl import crawl as crawl_pages
    from crawler.progress import Progress

    def known_identity(repo_id: str) -> str | None:
        model = store.model(repo_id)
        return model.hub_id if model is not None and not model.hub_id.startswith("local:") else None

    summary = CrawlSummary(datetime.now(UTC))
    if hub is None and options.folder is None:
        hub = crawl_hub(None)
    with Progress(progress_file) as progress:
        pages = crawl_pages(options, sketches, progress, hub, identify=known_identity)
        try:
            for batch in pages:
                store.upsert_models(batch.models)
                present = [model.hub_id for model in batch.models if model.status is not Status.GONE]
                summary.declarations += store.upsert_declarations(present, batch.declarations)
                batch.acknowledge()
                sketches.compact_if_due()
                summary.counts.update(batch.counts)
                summary.failures.update(failure.kind for failure in batch.failures)
                summary.first_failures += batch.failures[: FAILURES_TOLD - len(summary.first_failures)]
                summary.count_traffic(hub)
                report(batch, summary)
                if should_stop():
                    summary.stopped = "told to stop"
                    break
        except BudgetSpent as spent:
            summary.stopped = spent.message
        finally:
            pages.close()
        summary.count_traffic(hub)
    sketches.compact_if_due(at_end=True)
    store.link_declarations()
    summary.finished_at = datetime.now(UTC)
    return summary


def progress_shown() -> AbstractContextManager[Callable[[Batch, CrawlSummary], None]]:
    """A bar on a terminal, nothing elsewhere; gives the function that `crawl_into` takes as `report`."""
    if not sys.stderr.isatty():
        return nullcontext(lambda batch, summary: None)
    from crawler.bar import CrawlBar

    return CrawlBar()


@click.command()
@store_option
@sketches_option
@endpoint_option
@crawl_options
@click.option("--dry-run", is_flag=True, help="Walk the listing, read and store nothing, say what it would cost.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def crawl(store: str, sketches: str | None, endpoint: str | None, dry_run: bool, as_json: bool, **what: Any) -> None:
    """Read models from the Hub or a folder: models and claims into the graph, small samples of weights on disk.

    What is known already is not read again, and a crawl that was stopped goes on where it was.

    Example: lineage crawl --author openai-community --limit 20
    """
    import uuid

    from detect.sketch_store import SketchStore
    from graphdb.schema import Run
    from graphdb.store import open_store

    options = make_options(store, **what)
    folder = sketches_folder(store, sketches)
    if dry_run:
        if options.folder is not None or options.repos is not None:
            raise click.UsageError("--dry-run is about the listing of a Hub, not about --repos or --folder")
        tell_plan(options, folder, crawl_hub(endpoint), as_json)
        return
    hub = crawl_hub(endpoint) if options.folder is None else None
    with open_store(store) as opened, progress_shown() as report:
        summary = crawl_into(opened, SketchStore(folder), folder / "progress.sqlite", options, hub=hub, report=report)
        run = Run(str(uuid.uuid4()), "crawl", summary.started_at, summary.finished_at, summary.as_dict())
        opened.record_run(run)
    if as_json:
        click.echo(json.dumps(summary.as_dict()))
    else:
        click.echo(summary_text(summary))


def tell_plan(options: CrawlOptions, sketches: Path, hub: Hub, as_json: bool) -> None:
    """Print what a crawl would cost; nothing is left behind."""
    from tempfile import TemporaryDirectory

    from crawler.plan import plan_crawl, plan_text
    from crawler.progress import Progress
    from detect.sketch_store import SketchStore

    file = sketches / "progress.sqlite"
    with TemporaryDirectory() as empty, Progress(file if file.exists() else Path(empty) / file.name) as progress:
        plan = plan_crawl(options, SketchStore(sketches), progress, hub)
    click.echo(json.dumps(plan.as_dict()) if as_json else plan_text(plan))


def summary_text(summary: CrawlSummary) -> str:
    """The summary for people, a few lines."""
    counts = summary.counts
    others = "".join(
        f", {counts[status]} {status}" for status in ("unreadable", "gated", "adapter", "gone") if counts[status]
    )
    lines = [
        f"{counts['seen']} models seen: {counts['new']} new, {counts['changed']} changed, {counts['unchanged']} unchanged",
        f"{counts['sketched']} readable{others}",
        f"{counts['read']} read, {counts['reused']} known by the hash of their files",
        f"{sum(summary.requests.values())} requests, {sum(summary.body_bytes.values()) / 1e6:.1f} MB, "
        f"{summary.seconds:.1f} s",
    ]
    if counts["waiting"]:
        lines.append(f"{counts['waiting']} put into the line of those that are read as the budget allows")
    if summary.stopped:
        lines.append(f"stopped: {summary.stopped}; the next crawl goes on from here")
    if summary.failures:
        lines.append("not read: " + ", ".join(f"{n} {kind}" for kind, n in summary.failures.most_common()))
        lines += [f"  {failure.repo_id}: {failure.message}" for failure in summary.first_failures[:5]]
    return "\n".join(lines)
