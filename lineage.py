"""The `lineage` command: which commands there are, the whole flow (`sync`), one-model lookups, and how failures are told.

A command's module is imported only when the command is asked for, so that `lineage --help` and lookups stay quick.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import click

from crawler.cli import crawl_hub, crawl_into, metrics_at, reported, tell_plan
from crawler.cli_options import crawl_options, endpoint_option, make_options, service_options
from crawler.cli_summary import CrawlSummary, summary_text
from detect.cli import evidence_options, options_of, sketches_folder, sketches_option, state_folder
from graphdb.cli import store_option
from graphdb.schema import Failure

logger = logging.getLogger(__name__)

# command -> (module:attribute, one line of help); the help stands here so that `lineage --help` imports nothing
COMMANDS = {
    "sync": ("lineage:sync", "Crawl, detect and store what is new: once, or on a schedule."),
    "crawl": ("crawler.cli:crawl", "Read models from the Hub or a folder: claims into the graph, sketches on disk."),
    "detect": ("detect.cli:detect", "Decide who was trained from whom, from the sketches, into the graph."),
    "scan": ("detect.cli:scan", "Every model under a folder -> the directed edges between them. Stores nothing."),
    "who-is-parent": ("queries.cli_parent:who_is_parent", "The parent of one model: repository, folder or file."),
    "methods": (
        "detect.cli_methods:methods",
        "The methods that can decide, ours and published ones, and their options.",
    ),
    "explain": ("detect.cli_explain:explain", "The evidence for and against one edge."),
    "origins": ("detect.cli_origins:origins", "Which of several models each block of a model came from."),
    "phylolm": ("detect.cli_phylolm:phylolm", "A tree of language models from their answers, no weights needed."),
    "ancestors": ("queries.cli_family:ancestors", "What a model comes from, nearest first."),
    "descendants": ("queries.cli_family:descendants", "What comes from a model, nearest first."),
    "siblings": ("queries.cli_family:siblings", "Models with the same parent."),
    "tree": ("queries.cli_family:tree", "The whole family of a model, as a tree."),
    "path": ("queries.cli_family:path", "How two models are related, edge by edge."),
    "common-ancestor": ("queries.cli_family:common_ancestor", "The nearest model that two models both come from."),
    "licences": ("queries.cli_family:licences", "The licences above a model, and which of them its own contradicts."),
    "blast-radius": ("queries.cli_family:blast_radius", "Who inherits a flaw of a model, and how sure that is."),
    "roots": ("queries.cli_whole:roots", "Models that others come from and that come from none."),
    "leaves": ("queries.cli_whole:leaves", "Models that come from another and that nothing comes from."),
    "families": ("queries.cli_whole:families", "The largest families."),
    "copies": ("queries.cli_whole:copies", "Models with equal weight files under several names."),
    "orphans": ("queries.cli_whole:orphans", "Models that claim a base which is not in the graph."),
    "stale": ("queries.cli_whole:stale", "Edges whose evidence is older than the models' weights."),
    "changes": ("queries.cli_whole:changes", "What changed in the graph since a moment."),
    "as-of": ("queries.cli_whole:as_of", "The parents that a model had in the graph at a moment."),
    "declared": ("queries.cli_whole:declared", "What cards claim beside what the weights say."),
    "ask": ("queries.cli_ask:ask", "The questions that come with lineage, and their answers."),
    "cypher": ("queries.cli_ask:cypher", "Ask the graph anything, read only."),
    "runs": ("crawler.cli_runs:runs", "What the latest passes did and cost."),
    "sketches": ("detect.cli_sketches:sketches", "The samples of weights: stats, check, compact, copy."),
    "zoo": ("detect.cli_train:zoo", "The families of small models that detectors are trained on: build."),
    "train": ("detect.cli_train:train", "Train a detector on families of known lineage."),
    "graph": ("graphdb.cli:graph", "The store itself: init, stats, serve, export, copy."),
}


def set_up_logging(verbosity: int, as_json: bool = False) -> None:
    """Our packages log to stderr: warnings, with -v what each stage did, with -vv every step; as JSON always what each stage did."""
    handler = logging.StreamHandler(sys.stderr)
    if as_json:
        from pythonjsonlogger.json import JsonFormatter

        fields = {"levelname": "level", "name": "logger", "asctime": "time"}
        form = JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z", rename_fields=fields
        )
        handler.setFormatter(form)
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(max(verbosity, int(as_json)), 2)]
    for name in ("crawler", "detect", "graphdb", "queries", "lineage"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    logging.getLogger("neo4j").addHandler(logging.NullHandler())  # the failures that we raise say the same


def _logging_told(context: click.Context, parameter: click.Parameter, value: int | bool) -> None:
    told = context.meta.setdefault("lineage.logging", {})
    told[parameter.name] = value
    set_up_logging(told.get("verbose", 0), told.get("log_json", False))


def _shared_options() -> list[click.Option]:
    """Options that every command takes; a command that does not need one of them accepts and ignores it."""
    verbose = click.Option(
        ["-v", "--verbose"],
        count=True,
        expose_value=False,
        help="Say more on stderr; -vv says everything.",
        callback=_logging_told,
    )
    log_json = click.Option(
        ["--log-json"],
        is_flag=True,
        expose_value=False,
        help="Log on stderr as JSON, an object a line; says as much as -v.",
        callback=_logging_told,
    )
    ignored: dict[str, Any] = {"expose_value": False, "hidden": True}
    return [
        verbose,
        log_json,
        click.Option(["--store"], **ignored),
        click.Option(["--sketches"], **ignored),
        click.Option(["--endpoint"], **ignored),
    ]


def _with_shared_options(command: click.Command) -> click.Command:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            sub = command.get_command(click.Context(command), name)
            if sub:
                _with_shared_options(sub)
        return command
    known = {name for parameter in command.params for name in parameter.opts}
    command.params += [option for option in _shared_options() if not known & set(option.opts)]
    return command


class LazyGroup(click.Group):
    """Knows the names and the help of its commands, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return _with_shared_options(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1) if args else []
            if close:
                error.message += f" Did you mean {close[0]!r}?"
            raise


@click.command()
@store_option
@sketches_option
@endpoint_option
@crawl_options
@evidence_options
@click.option("--every", metavar="6h", help="Stay and do it again after this time (30m, 6h, 1d).")
@click.option("--cron", metavar='"0 2 * * *"', help="Stay and do it at these times (five cron fields, local time).")
@service_options
@click.option("--json", "json_wanted", is_flag=True, help="Print each pass's summary as JSON, one line.")
def sync(
    store: str,
    sketches: str | None,
    endpoint: str | None,
    every: str | None,
    cron: str | None,
    dry_run: bool,
    metrics_port: int | None,
    json_wanted: bool,
    **options: Any,
) -> None:
    """Crawl, detect and store what is new: once, or on a schedule. A pass that died is finished by the next one.

    \b
    lineage sync --author openai-community
    lineage sync --cron "0 2 * * *" --metrics-port 9464
    """
    from crawler.schedule import Stopped, repeat
    from detect.sketch_store import SketchStore

    what, evidence = _split(options)
    crawling, state = make_options(store, **what), state_folder(store, sketches)
    kept = SketchStore(sketches_folder(store, sketches))
    if dry_run:
        tell_plan(crawling, kept, state, endpoint, json_wanted)
        return
    metrics = metrics_at(metrics_port)

    def one_pass(should_stop: Callable[[], bool]) -> None:
        from crawler.cli_runs import recorded
        from crawler.lock import one_at_a_time
        from detect.cli_graph import detect_into, found_text
        from graphdb.store import open_store

        hub = crawl_hub(endpoint) if crawling.folder is None else None
        crawled, progress = CrawlSummary.begun(), state / "progress.sqlite"
        with (
            one_at_a_time(state),
            metrics.pass_under_way() if metrics else nullcontext(),
            open_store(store) as graph,
            recorded(graph, "sync") as run,
        ):
            with crawled.kept_in(run.summary, "crawl"), reported(metrics) as report:
                told = {"should_stop": should_stop, "report": report, "summary": crawled}
                crawl_into(graph, kept, progress, crawling, hub=hub, **told)
            if should_stop():
                raise Stopped
            found = detect_into(graph, kept, options_of(**evidence), run.run_id, should_stop=should_stop)
            run.summary["detect"] = found
            if metrics:
                metrics.detected(found)
            if should_stop():
                raise Stopped
        click.echo(json.dumps(run.summary) if json_wanted else f"{summary_text(crawled)}\n{found_text(found)}")

    repeat(one_pass, state / "schedule.json", every=every, cron=cron)


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to crawl, and what evidence to use."""
    names = ("no_dates", "no_declared", "no_detector", "method", "method_option", "threshold")
    evidence = {name: options.pop(name) for name in names}
    return options, evidence


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lineage", prog_name="lineage")
def cli() -> None:
    """Which model was a model trained from? Asks the weights, and keeps the answers as a graph.

    Results go to stdout, everything else to stderr. Exit codes: 0 answered, 1 a failure, 2 wrong usage, 3 cannot tell,
    4 no such model or nothing readable in it.
    """


def tell(message: str, try_next: str | None = None, exit_code: int = 1) -> int:
    """Says what went wrong in one line, and what to try in another."""
    click.echo(f"lineage: {' '.join(message.split())}", err=True)
    if try_next:
        click.echo(f"    try: {' '.join(try_next.split())}", err=True)
    return exit_code


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; never shows a traceback for a failure that a person can do something about."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        code = cli.main(args=arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        code = 130
    except Failure as failure:
        code = tell(failure.message, failure.try_next, failure.exit_code)
    except OSError as error:  # a full disk, a folder that belongs to somebody else
        logger.debug("where it happened", exc_info=True)
        where = f"{error.filename}: " if error.filename else ""
        code = tell(f"{where}{error.strerror or error}", "check the place and its permissions, and -vv")
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
