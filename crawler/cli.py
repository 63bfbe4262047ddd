"""`lineage crawl`, and what other commands need of the crawler: the `--endpoint` option and `crawl_into`."""

from __future__ import annotations

import json
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


class BadList(Failure):
    """A file of repository names that cannot be used."""


@dataclass(slots=True)
class CrawlSummary:
    """What one crawl did. `counts` as in crawler.crawl.Batch; `requests` and `body_bytes` by kind of request."""

    started_at: datetime
    finished_at: datetime | None = None
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    first_failures: list[RepoFailure] = field(default_factory=list)
    declarations: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    body_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()

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
                summary.counts.update(batch.counts)
                summary.failures.update(failure.kind for failure in batch.failures)
                summary.first_failures += batch.failures[: FAILURES_TOLD - len(summary.first_failures)]
                if hub is not None:
                    traffic = hub.traffic.summary()
                    summary.requests, summary.body_bytes = traffic["requests"], traffic["bytes"]
                report(batch, summary)
                if should_stop():
                    break
        finally:
            pages.close()
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
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def crawl(store: str, sketches: str | None, endpoint: str | None, as_json: bool, **what: Any) -> None:
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
    hub = crawl_hub(endpoint) if options.folder is None else None
    with open_store(store) as opened, progress_shown() as report:
        summary = crawl_into(opened, SketchStore(folder), folder / "progress.sqlite", options, hub=hub, report=report)
        run = Run(str(uuid.uuid4()), "crawl", summary.started_at, summary.finished_at, summary.as_dict())
        opened.record_run(run)
    if as_json:
        click.echo(json.dumps(summary.as_dict()))
    else:
        click.echo(summary_text(summary))


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
    if summary.failures:
        lines.append("not read: " + ", ".join(f"{n} {kind}" for kind, n in summary.failures.most_common()))
        lines += [f"  {failure.repo_id}: {failure.message}" for failure in summary.first_failures[:5]]
    return "\n".join(lines)
