"""The `lineage` command: which commands there are, their shared options, and one line for each failure.

A command's module is imported only when the command is asked for, so that `lineage --help` and lookups stay quick.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lineage.commands.empty_values import refuse_empty
from lineage.commands.messages import (
    escape_what_streams_cannot_write,
    note,
    open_closed_streams,
    places_of,
    set_up_logging,
    tell,
    tell_os_error,
    tell_usage,
    working_folder_is_gone,
)
from lineage.graphdb.schema import Failure
from lineage.version import __version__

logger = logging.getLogger(__name__)

# command -> (module:attribute, one line of help); the help stands here so that `lineage --help` imports nothing
COMMANDS = {
    "sync": ("lineage.commands.sync:sync", "Crawl, detect and store what is new: once, or on a schedule."),
    "crawl": (
        "lineage.commands.crawl:crawl",
        "Read models from the Hub or a folder: claims into the graph, sketches on disk.",
    ),
    "detect": (
        "lineage.commands.detect:detect",
        "Decide which model was trained from which, from the sketches, into the graph.",
    ),
    "scan": (
        "lineage.commands.scan:scan",
        "Every model under a folder -> the directed edges between them. Stores nothing.",
    ),
    "who-is-parent": (
        "lineage.commands.who_is_parent:who_is_parent",
        "The parent of one model: repository, folder or file.",
    ),
    "report": ("lineage.commands.report:report", "One page on models or a folder: family, evidence, cards, licences."),
    "web": ("lineage.commands.web:web", "The graph as pages on this machine: search, trees, evidence, licences."),
    "verify": (
        "lineage.commands.verify:verify",
        "Check claims about models against their weights: exit code 0, 5 or 3.",
    ),
    "status": ("lineage.commands.status:status", "What the store holds, when it was filled, and what waits."),
    "methods": (
        "lineage.commands.methods:methods",
        "Detection methods, ours and published ones, and their options.",
    ),
    "explain": ("lineage.commands.explain:explain", "The evidence for and against one edge."),
    "origins": ("lineage.commands.origins:origins", "Which of several models each block of a model came from."),
    "phylolm": ("lineage.commands.phylolm:phylolm", "A tree of language models from their answers, no weights needed."),
    "ancestors": ("lineage.commands.family:ancestors", "What a model comes from, nearest first."),
    "descendants": ("lineage.commands.family:descendants", "What comes from a model, nearest first."),
    "siblings": ("lineage.commands.family:siblings", "Models with the same parent."),
    "tree": ("lineage.commands.family:tree", "The whole family of a model, as a tree."),
    "path": ("lineage.commands.family:path", "How two models are related, edge by edge."),
    "common-ancestor": ("lineage.commands.family:common_ancestor", "The nearest model that two models both come from."),
    "licences": (
        "lineage.commands.family:licences",
        "The licences above a model, and which of them its own contradicts.",
    ),
    "blast-radius": (
        "lineage.commands.family:blast_radius",
        "Models that inherit a flaw of a model, with probabilities.",
    ),
    "roots": ("lineage.commands.whole_graph:roots", "Models with children and without a known parent."),
    "leaves": ("lineage.commands.whole_graph:leaves", "Models that come from another and that nothing comes from."),
    "families": ("lineage.commands.whole_graph:families", "The largest families."),
    "copies": ("lineage.commands.whole_graph:copies", "Models with equal weight files under several names."),
    "orphans": ("lineage.commands.whole_graph:orphans", "Models that claim a base which is not in the graph."),
    "stale": ("lineage.commands.whole_graph:stale", "Edges whose evidence is older than the models' weights."),
    "changes": ("lineage.commands.whole_graph:changes", "What changed in the graph since a moment."),
    "as-of": ("lineage.commands.whole_graph:as_of", "The parents that a model had in the graph at a moment."),
    "declared": ("lineage.commands.whole_graph:declared", "What cards claim beside what the weights say."),
    "ask": ("lineage.commands.ask:ask", "The questions that come with lineage, and their answers."),
    "cypher": ("lineage.commands.ask:cypher", "Ask the graph anything, read only."),
    "runs": ("lineage.commands.runs:runs", "What the latest passes did and cost."),
    "sketches": ("lineage.commands.sketches:sketches", "The samples of weights: stats, check, compact, copy."),
    "zoo": ("lineage.commands.train:zoo", "The families of small models that detectors are trained on: build."),
    "train": ("lineage.commands.train:train", "Train a detector on families of known lineage."),
    "graph": ("lineage.commands.graph:graph", "The store itself: init, stats, serve, export, copy."),
}


# how `lineage --help` groups them; a test keeps every command in one section
SECTIONS = {
    "Look up one model": (
        "who-is-parent",
        "tree",
        "ancestors",
        "descendants",
        "siblings",
        "explain",
        "path",
        "common-ancestor",
    ),
    "Look up a folder": ("scan",),
    "See it, share it, gate on it": ("web", "report", "verify"),
    "Ask the graph": (
        *("roots", "leaves", "families", "declared", "licences", "blast-radius", "copies", "orphans", "stale"),
        *("changes", "as-of", "ask", "cypher"),
    ),
    "Operate": ("sync", "crawl", "detect", "status", "runs", "graph", "sketches"),
    "Research": ("methods", "origins", "phylolm", "zoo", "train"),
}


ALIASES = {"licenses": "licences", "parent": "who-is-parent", "who-is": "who-is-parent"}  # what people type as well


def _logging_told(context: click.Context, parameter: click.Parameter, value: int | bool) -> None:
    wanted = context.meta.setdefault("lineage.logging", {})
    wanted[parameter.name] = value
    set_up_logging(wanted.get("verbose", 0), wanted.get("log_json", False))


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
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.callback is None:
            parameter.callback = refuse_empty
    known = {name for parameter in command.params for name in parameter.opts}
    command.params += [option for option in _shared_options() if not known & set(option.opts)]
    return command


class ReaderIsGoneError(Exception):
    """The reader of our output has closed it, as `head` does."""


class LazyGroup(click.Group):
    """Knows the names and the help of its commands, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return _with_shared_options(command)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*args, **more)
        except BrokenPipeError:  # of --help
            raise ReaderIsGoneError from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # click makes a failure of it, without a word
            raise ReaderIsGoneError from None
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name][1]) for name in names])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, command, rest = super().resolve_command(ctx, args)
            if name is not None and command is not None and not {"-h", "--help"} & set(rest):
                _take_configuration(ctx, name, command)
            return name, command, rest
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1) if args else []
            if close:
                raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from None
            raise


def _take_configuration(ctx: click.Context, typed: str, command: click.Command) -> None:
    """Defaults from the file of options, if there is one."""
    from lineage.commands.configuration import configuration

    found = configuration(Path.cwd())
    if found is not None:
        ctx.default_map = {typed: found.defaults(command, ALIASES.get(typed, typed))}
        logger.info("options of %s", found.file)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version=__version__, prog_name="lineage")
def cli() -> None:
    """Which model was a model trained from? Asks the weights, and keeps the answers as a graph.

    \b
    lineage scan ./checkpoints                    the families among the models of a folder
    lineage sync --author NAME --limit 50         models of the Hub into a graph of your own
    lineage web                                   that graph in a browser

    Results go to stdout, everything else to stderr. Exit codes: 0 answered, 1 a failure, 2 wrong usage, 3 cannot tell,
    4 no such model or nothing readable in it, 5 contradicted (`lineage verify`).
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; never shows a traceback for a failure that a person can do something about."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported; detect/computing.py says why
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy does small work only
    open_closed_streams()
    escape_what_streams_cannot_write()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if working_folder_is_gone() and not {"-h", "--help", "--version"} & set(words):
        sys.exit(tell("the folder that this command was started in has been removed", "cd to a folder that is there"))
    try:
        code = cli.main(args=arguments, standalone_mode=False)
    except click.ClickException as error:
        code = tell_usage(error)
    except click.Abort:
        note("stopped")
        code = 130
    except Failure as failure:
        code = tell(failure.message, failure.try_next, failure.exit_code)
    except (ReaderIsGoneError, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    except OSError as error:
        logger.debug("where it happened", exc_info=True)
        code = tell_os_error(error, places_of(words))
    sys.exit(code if isinstance(code, int) else 0)
