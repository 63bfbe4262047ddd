"""Options that several commands share, as decorators: where the store and the samples are, which Hub, which evidence counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lineage.detect.methods.registry import METHODS, PLAIN

DEFAULT_STORE = "~/.lineage"


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--store URL`: a folder, or the address of a Neo4j. The command gets it as `store`."""
    return click.option(
        "--store",
        envvar="LINEAGE_STORE",
        default=DEFAULT_STORE,
        show_default=True,
        metavar="URL",
        help="Folder of the embedded store, or bolt://host:7687 or neo4j://host:7687 with NEO4J_USER and NEO4J_PASSWORD "
        "[env LINEAGE_STORE].",
    )(command)


def sketches_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--sketches DIR`: where the samples of weights lie; by default beside the store."""
    return click.option(
        "--sketches",
        envvar="LINEAGE_SKETCHES",
        metavar="DIR",
        help="Folder of weight samples, or an address like s3://bucket/folder [env LINEAGE_SKETCHES; default: `sketches` in "
        "the store's folder].",
    )(command)


def evidence_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Switches of the kinds of evidence, and the probability below which nothing is asserted."""
    for option in reversed(
        [
            click.option(
                "--no-dates",
                is_flag=True,
                help="Leave publication dates out of the evidence; models on disk have none.",
            ),
            click.option("--no-declared", is_flag=True, help="Leave the claims of cards out of the evidence."),
            click.option(
                "--no-detector", is_flag=True, help="Leave the trained detector out; learning-free evidence only."
            ),
            click.option(
                "--method",
                type=click.Choice([method.name for method in METHODS]),
                default=PLAIN,
                metavar="NAME",
                show_default=True,
                help="Detection method: `lineage` or a published one; `lineage methods` lists them.",
            ),
            click.option(
                "--method-option",
                multiple=True,
                metavar="KEY=VALUE",
                help="An option of the method, as `lineage methods` lists them; may be given several times.",
            ),
            click.option(
                "--threshold",
                type=click.FloatRange(0.5, 1.0),
                metavar="P",
                help="Minimum probability for an edge [default: 0.8].",
            ),
            click.option(
                "--missing-parents",
                type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
                metavar="P",
                help="Share of parents that are private, deleted or not at hand, before looking [default: 0.25].",
            ),
        ]
    ):
        command = option(command)
    return command


def endpoint_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--endpoint URL`: the Hub to ask. The command gets it as `endpoint`, None if HF_ENDPOINT or the default counts."""
    return click.option(
        "--endpoint", metavar="URL", help="Address of the Hub [env HF_ENDPOINT, default https://huggingface.co]."
    )(command)


def checked_device(name: str | None) -> str | None:
    """
    Raises:
        click.BadParameter: there is no such device here.
    """
    if name not in (None, "cpu"):
        import torch

        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError):
            raise click.BadParameter(f"there is no device {name!r} here", param_hint="--device") from None
    return name
