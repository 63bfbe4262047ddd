"""`lineage sync`: the whole flow, once or on a schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import click

from lineage.commands.crawl import end_if_nothing_was_read, metrics_at, reported, tell_plan
from lineage.commands.crawl_options import crawl_options, make_options, service_options
from lineage.commands.hints import hint
from lineage.commands.messages import note
from lineage.commands.options import endpoint_option, evidence_options, sketches_option, store_option
from lineage.commands.ray_options import RayChoice, engine_for, ray_options
from lineage.commands.stages import comparing
from lineage.crawler.summary import CrawlSummary, summary_text
from lineage.crawling import crawl_hub, crawl_into
from lineage.evidence import options_of
from lineage.locations import sketches_folder, state_folder


@click.command()
@store_option
@sketches_option
@endpoint_option
@crawl_options
@evidence_options
@click.option("--every", metavar="6h", help="Stay and do it again after this time (30m, 6h, 1d).")
@click.option("--cron", metavar='"0 2 * * *"', help="Stay and do it at these times (five cron fields, local time).")
@service_options
@ray_options
@click.option("--json", "json_wanted", is_flag=True, help="Print each pass's summary as JSON, one line.")
def sync(
    store: str,
    sketches: str | None,
    endpoint: str | None,
    every: str | None,
    cron: str | None,
    dry_run: bool,
    metrics_port: int | None,
    metrics_host: str,
    ray: RayChoice,
    json_wanted: bool,
    **options: Any,
) -> None:
    """Crawl, detect and store what is new: once, or on a schedule. A pass that died is finished by the next one.

    \b
    lineage sync --author openai-community
    lineage sync --cron "0 2 * * *" --metrics-port 9464
    """
    from lineage.crawler.schedule import Interruption, repeat
    from lineage.detect.sketch_store import SketchStore

    what, evidence = _split(options)
    crawling, state = make_options(store, endpoint=endpoint, **what), state_folder(store, sketches)
    kept = SketchStore(sketches_folder(store, sketches))
    if dry_run:
        tell_plan(crawling, kept, state, endpoint, json_wanted)
        return
    metrics = metrics_at(metrics_port, metrics_host)

    def one_pass(should_stop: Callable[[], bool]) -> None:
        from lineage.crawler.lock import one_at_a_time
        from lineage.detection import detect_into, found_text
        from lineage.graphdb.store import open_store
        from lineage.recording import recorded

        hub = crawl_hub(endpoint) if crawling.folder is None else None
        crawled, progress = CrawlSummary.begun(), state / "progress.sqlite"
        with (
            one_at_a_time(state),
            metrics.pass_under_way() if metrics else nullcontext(),
            open_store(store) as graph,
            recorded(graph, "sync") as run,
        ):
            with crawled.kept_in(run.summary, "crawl"), reported(metrics) as report:
                crawl_into(
                    graph,
                    kept,
                    progress,
                    crawling,
                    hub=hub,
                    should_stop=should_stop,
                    report=report,
                    summary=crawled,
                )
            if should_stop():
                raise Interruption
            with engine_for(ray, kept, options_of(**evidence)) as engine, comparing(graph, should_stop) as asked:
                found = detect_into(
                    graph,
                    kept,
                    options_of(**evidence),
                    run.run_id,
                    should_stop=asked,
                    engine=engine,
                    folder=state / "large_groups",
                )
            run.summary["detect"] = found
            if metrics:
                metrics.detected(found)
            if should_stop():
                raise Interruption
        if json_wanted:
            click.echo(json.dumps(run.summary))
            end_if_nothing_was_read(crawled)
            return
        began = f"pass of {crawled.started_at:%Y-%m-%d %H:%M} UTC\n" if every is not None or cron is not None else ""
        click.echo(f"{began}{summary_text(crawled)}\n{found_text(found)}")
        end_if_nothing_was_read(crawled)
        if every is None and cron is None:
            hint("`lineage roots` lists the oldest models, `lineage web` shows the graph in a browser")

    repeat(one_pass, state / "schedule.json", every=every, cron=cron, say=note)


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to crawl, and what evidence to use."""
    names = ("no_dates", "no_declared", "no_detector", "method", "method_option", "threshold", "missing_parents")
    evidence = {name: options.pop(name) for name in names}
    return options, evidence
