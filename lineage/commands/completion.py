"""Names of models for the shell's completion: those of the graph that begin with what is typed.

`eval "$(_LINEAGE_COMPLETE=bash_source lineage)"` in ~/.bashrc turns it on; `zsh_source` and `fish_source` for the other shells.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

OFFERED = 30
SHORTEST = 2  # characters from which on names are looked up


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names for an argument MODEL; paths where it looks like one. Whatever goes wrong, nothing is offered."""
    if incomplete.startswith((".", "/", "~")) or len(incomplete) < SHORTEST:
        return [CompletionItem(incomplete, type="file")]
    try:
        names = _names(context.params.get("store") or _default_store(context), incomplete)
    except Exception:  # a held store, no store: a shell must not be disturbed by it
        names = []
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def _default_store(context: click.Context) -> str:
    import os

    from lineage.commands.options import DEFAULT_STORE

    return os.environ.get("LINEAGE_STORE") or DEFAULT_STORE


def _names(store: str, incomplete: str) -> list[str]:
    from lineage.graphdb.store import open_store
    from lineage.queries import load

    with open_store(store, create=False) as opened:
        rows = opened.read(load("named_like").text, {"prefix": incomplete.lower(), "limit": OFFERED})
    return sorted({row["repo_id"] for row in rows if row["repo_id"].isprintable()})
