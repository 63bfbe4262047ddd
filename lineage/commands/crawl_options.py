"""What to crawl, and how: the options that `crawl` and `sync` share, and `--endpoint`."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.empty_values import refuse_empty
from lineage.commands.moments import Moment
from lineage.graphdb.schema import Failure

if TYPE_CHECKING:
    from lineage.crawler.walk import CrawlOptions


class SizeInBytes(click.ParamType):
    """A number of bytes, as in `1000000`, `500M`, `2G` or `2GB` (powers of ten)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)\s*([kMGT]?)B?", str(value).strip())
        size = int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " ")) if match else 0
        if size < 1:
            self.fail(f"{value!r} is not a size: write 500M or 2G", param, ctx)
        return size


class BadList(Failure):
    """A file of repository names that cannot be used."""


def crawl_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what to crawl, for `crawl` and `sync`; `make_options` turns them into CrawlOptions."""
    for option in reversed(
        [
            click.option(
                "--author", metavar="A", callback=refuse_empty, help="Only models of this user or organisation."
            ),
            click.option(
                "--search", metavar="S", callback=refuse_empty, help="Only models whose name holds this text."
            ),
            click.option(
                "--filter",
                "filters",
                metavar="TAG",
                multiple=True,
                callback=refuse_empty,
                help="Only models with this tag; repeatable.",
            ),
            click.option("--limit", type=click.IntRange(1), metavar="N", help="Maximum number of models."),
            click.option(
                "--since",
                type=Moment(),
                metavar="DATE",
                help="Only what changed at or after this day or moment (UTC): 2026-11-01, 7d, yesterday.",
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
                "--max-bytes",
                type=SizeInBytes(),
                metavar="SIZE",
                help="Stop after this number of bytes: 500M, 2G, 1000000.",
            ),
            click.option(
                "--max-minutes",
                type=click.FloatRange(0, min_open=True),
                metavar="M",
                help="Stop after this number of minutes. With a budget, the most used models and those that name their base come first.",
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
    endpoint: str | None = None,
) -> CrawlOptions:
    """
    Raises:
        click.UsageError: options that contradict each other. BadList: the file names no repositories.
    """
    from lineage.crawler.walk import CrawlOptions

    filtered = author or search or filters or since
    if (repos is not None) + (folder is not None) + bool(filtered) > 1:
        raise click.UsageError("give --repos, or --folder, or filters of the listing, not several of them")
    return CrawlOptions(
        author=author,
        search=search,
        filters=filters,
        limit=limit,
        since=since,
        repos=read_names(repos, endpoint) if repos is not None else None,
        folder=folder,
        workers=workers,
        scope=store_url,
        max_requests=max_requests,
        max_bytes=max_bytes,
        max_minutes=max_minutes,
    )


def read_names(file: Path, endpoint: str | None = None) -> tuple[str, ...]:
    """Names of repositories, one a line, each once; empty lines and what follows `#` do not count.

    Addresses from a browser count as the names that they lead to. A byte-order mark at the beginning, and UTF-16, as editors on
    Windows save it, are understood.

    Args:
        endpoint: the Hub asked, whose addresses count as well.
    """
    from lineage.crawler.repo_names import repo_and_revision

    try:
        raw = file.read_bytes()
        wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadList(f"{file} cannot be read as a list of names: {error}", "one org/name a line") from None
    found = []
    for line in text.splitlines():
        written = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        named = repo_and_revision(written.partition("#")[0], endpoint or os.environ.get("HF_ENDPOINT"))
        found.append("@".join(part for part in named if part) if named else written.partition("#")[0].strip())
    names = tuple(dict.fromkeys(name for name in found if name))
    if not names:
        raise BadList(f"{file} names no repositories", "write one org/name a line")
    return names


def service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--dry-run`, `--metrics-port` and `--metrics-host`."""
    for option in (
        click.option(
            "--metrics-host",
            default="127.0.0.1",
            show_default=True,
            metavar="HOST",
            help="Address of this machine to serve them at; 0.0.0.0 lets other machines and containers read them.",
        ),
        click.option(
            "--metrics-port",
            type=click.IntRange(0, 65535),
            metavar="PORT",
            help="Serve counts for Prometheus at http://HOST:PORT/metrics while it runs.",
        ),
        click.option(
            "--dry-run",
            is_flag=True,
            help="Walk the listing or the folder, read and store nothing, say what it would cost.",
        ),
    ):
        command = option(command)
    return command
