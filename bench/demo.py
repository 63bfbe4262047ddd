"""`make demo`: a small family is trained, put on a loopback Hub, crawled by the very same `lineage sync` that reads the real Hub.

    python -m bench.demo [--folder DIR]

Comes in: nothing. Comes out, in about a minute: the tree that was found beside the one that is true, on stdout; and DIR (`.demo`) with
the models (`family/`) and the graph (`store/`), for the commands it names at the end. Exit code 1 if an edge is wrong, or if
the second `lineage sync` reads weights again or changes anything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bench.digits_family import Truth, publish, train_family
from bench.side_by_side import TICKS, Origin, Verdict, draw, judge
from lineage.answer import sentence_of
from lineage.graphdb.schema import ACCEPTED
from lineage.graphdb.schema.kept_reason import kept_reason
from tests.fake_hub import Count, FakeHub

ROOT = Path(__file__).parent.parent
LINEAGE = Path(sys.executable).parent / "lineage"
COPY = "elm/noisy-digits-reupload"
LIAR, CLAIMED = "birch/mirrored-digits", "birch/digits-mlp-inverted"  # a model and what its card names wrongly
SYNC = ("sync", "--no-declared")  # the cards count for nothing here: weights must tell
WIDE_COLUMNS = 100  # from here on the trees are drawn with a wide indent

# What was found, through the command that anybody can use: each model, its answer, its accepted edge.
QUESTION = f"""MATCH (m:Model) OPTIONAL MATCH (m)-[e:{"|".join(ACCEPTED)}]->(p:Model)
RETURN m.repo_id AS model, m.hub_id AS hub_id, m.answer AS answer, m.answer_reason AS answer_reason,
       m.answer_reason_values AS answer_reason_values,
       p.repo_id AS parent, type(e) AS relation, e.probability AS probability ORDER BY model"""

out = Console(highlight=False)


def main() -> int:
    """Runs the demo; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description="Train, publish, crawl, compare, show.")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where models and graph go [%(default)s]")
    folder = parser.parse_args().folder
    began = time.monotonic()
    os.chdir(ROOT)  # what the commands that are printed are relative to
    clean_environment(folder)
    for stale in ("family", "store"):
        shutil.rmtree(folder / stale, ignore_errors=True)
    truth = train(folder / "family")
    with FakeHub() as hub:
        published(folder / "family", hub)
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "LINEAGE_STORE": str(folder / "store")}
        show_hub(hub, truth)
        heading("The Hub is crawled, the weights are compared, the edges are stored")
        typed(f"export HF_ENDPOINT={hub.url} LINEAGE_STORE={folder}/store")
        hub.reset_counts()
        transcript(environment, *SYNC)
        told(hub.counts())
        found = ask(environment)
        verdicts = show_trees(truth, found)
        heading("One model whose card names a wrong parent")
        transcript(environment, "who-is-parent", LIAR)
        heading("Once more: nothing has changed, so no weights are read")
        hub.reset_counts()
        transcript(environment, *SYNC)
        counts = hub.counts()
        told(counts)
        idle = not weight_requests(counts) and ask(environment) == found
    show_next(folder, time.monotonic() - began)
    if not idle:
        out.print("[bold red]The second sync read weights again, or changed the graph.[/]")
    return 1 if Verdict.WRONG in verdicts.values() or not idle else 0


def clean_environment(folder: Path) -> None:
    """No token, cache, mirror or proxy of whoever runs this: the Hub is on loopback. Before huggingface_hub is imported."""
    for name in [n for n in os.environ if n.startswith(("HF_", "HUGGING_FACE_", "LINEAGE_"))]:
        del os.environ[name]
    os.environ |= {"HF_HOME": str(ROOT / folder / "huggingface"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))


def train(family: Path) -> Truth:
    """The family, into a folder; a bar on a terminal."""
    heading("Small models are trained, on scikit-learn's pictures of digits")
    began = time.monotonic()
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("")

        def progress(done: int, models: int, name: str) -> None:
            bar.update(task, completed=done, total=models, description=name)

        truth = train_family(family, progress=progress)
    architectures = {model.architecture for model in truth.models}
    seconds = time.monotonic() - began
    out.print(f"{len(truth.models)} models of {len(architectures)} architectures in {seconds:.0f} s, in {family}")
    return truth


def published(family: Path, hub: FakeHub) -> None:
    """Puts the family on the Hub, everything in the same second, so that the weights alone must tell which came first.

    Equal files have no direction at all: of a copy and its original only a date or a card can tell, so the copy gets a date.
    """
    publish(family, hub)
    copy = hub.repo(COPY)
    copy.created_at = copy.last_modified = copy.created_at + timedelta(days=9)


def show_hub(hub: FakeHub, truth: Truth) -> None:
    """What anybody sees on the Hub, asked with the real client."""
    from huggingface_hub import HfApi

    heading(f"They are published on a loopback Hub, {hub.url}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("repository", "weights", "the card says: trained from"):
        table.add_column(column, no_wrap=True)
    api = HfApi(endpoint=hub.url, token=False)
    listed = sorted(api.list_models(expand=["cardData", "safetensors", "createdAt"]), key=lambda model: model.id)
    for model in listed:
        counts = model.safetensors.parameters if model.safetensors else {}
        weights = ", ".join(f"{values:,} {dtype}" for dtype, values in counts.items() if dtype != "I64")
        base = model.card_data.base_model if model.card_data else None
        table.add_row(model.id, weights, str(base) if base else Text("nothing", "dim"))
    out.print(table)
    dates = {model.id: f"{model.created_at:%d %B %Y}" for model in listed}
    wrong = sum(model.declared not in (None, model.parent) for model in truth.models)
    silent = sum(model.parent is not None and model.declared is None for model in truth.models)
    out.print(
        f"\nAll of {dates[LIAR]}, to the second: dates do not tell who came first. Only {COPY} is of {dates[COPY]}, "
        "because the bytes of a copy and its original cannot tell either. "
        f"{wrong} card names a wrong parent, {silent} leaves the parent out. From here on cards do not count (--no-declared)."
    )


def transcript(environment: Mapping[str, str], *arguments: str) -> None:
    """Runs the installed command as a person would, its output going where ours goes.

    Raises:
        SystemExit: the command failed.
    """
    typed(" ".join(["lineage", *arguments]))
    sys.stdout.flush()
    _checked(subprocess.run([LINEAGE, *arguments], env=environment, check=False))


def typed(line: str) -> None:
    """A line as it stands after a prompt."""
    out.print(Text(f"$ {line}", "bold cyan"), soft_wrap=True)


def ask(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of QUESTION, from the graph."""
    command = [str(LINEAGE), "cypher", QUESTION, "--json"]
    rows: list[dict[str, Any]] = json.loads(
        _checked(subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE, text=True)).stdout
    )
    names = {row["hub_id"]: row["model"] for row in rows}
    for row in rows:
        row["reason"] = sentence_of(kept_reason(row["answer_reason"], row["answer_reason_values"], names))
    return rows


def _checked(done: subprocess.CompletedProcess[Any]) -> subprocess.CompletedProcess[Any]:
    if done.returncode:
        raise SystemExit(f"`lineage {done.args[1]}` failed with exit code {done.returncode}")
    return done


def show_trees(truth: Truth, rows: list[dict[str, Any]]) -> dict[str, Verdict]:
    """Both trees, what was found, missed and wrong, and what is said of the two strangers."""
    true = {model.id: Origin(model.parent, model.relation) for model in truth.models}
    found = {
        row["model"]: Origin(row["parent"], row["relation"], row["probability"], row["answer"] != "undecided")
        for row in rows
    }
    verdicts = judge(true, found)
    heading("What was found, beside what is true")
    narrow = out.width < WIDE_COLUMNS
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2 if not narrow else 1, 0, 0))
    table.add_column("true", no_wrap=True)
    table.add_column("found", no_wrap=True)
    table.add_column("probability" if not narrow else "", no_wrap=True, justify="right")
    left, right = draw(true, narrow), draw(found, narrow)
    for place in range(max(len(left), len(right))):
        cells: list[str | Text] = [left[place][1] if place < len(left) else ""]
        if place < len(right):
            model, line = right[place]
            verdict, origin = verdicts.get(model, Verdict.WRONG), found[model]
            style = {Verdict.RIGHT: "green", Verdict.MISSED: "yellow", Verdict.WRONG: "bold red"}[verdict]
            cells.append(Text.assemble((TICKS[verdict], style), " ", line))
            cells.append(f"{origin.probability:.2f}" if origin.probability is not None else "")
        table.add_row(*cells)
    out.print(table)
    edges = [model for model, origin in true.items() if origin.parent is not None]
    tops = [model for model in true if model not in edges]
    out.print(
        f"\n[bold]{sum(verdicts[m] is Verdict.RIGHT for m in edges)} of {len(edges)} edges found[/], "
        f"{sum(verdicts[m] is Verdict.MISSED for m in edges)} missed, {list(verdicts.values()).count(Verdict.WRONG)} wrong; "
        f"{sum(verdicts[m] is Verdict.RIGHT for m in tops)} of {len(tops)} models without a parent recognised as such."
    )
    for model, verdict in verdicts.items():
        if verdict is not Verdict.RIGHT:
            said = next((row["reason"] for row in rows if row["model"] == model), "not read")
            out.print(f"{TICKS[verdict]} {model}: comes from {true[model].parent}; answer: {said}", soft_wrap=True)
    for row in rows:
        alone = row["parent"] is None and row["model"] not in {origin.parent for origin in found.values()}
        if alone and verdicts[row["model"]] is Verdict.RIGHT:
            out.print(f"{row['model']}: {row['reason']}.")
    return verdicts


def weight_requests(counts: Mapping[str, Count]) -> int:
    """Requests that resolve or read a file."""
    return sum(counts[kind].requests for kind in ("resolve", "cdn") if kind in counts)


def told(counts: Mapping[str, Count]) -> None:
    """What the Hub itself counted."""
    requests = sum(count.requests for count in counts.values())
    sent = counts["cdn"].bytes / 1e6 if "cdn" in counts else 0
    out.print(
        f"(The Hub counted: requests {requests}, of them {weight_requests(counts)} for files; {sent:.1f} MB of files sent.)",
        style="dim",
    )


def show_next(folder: Path, seconds: float) -> None:
    """Commands that work from now on, without the Hub."""
    heading(f"Done in {seconds:.0f} s; models and graph are still there. See the families in a browser:")
    out.print(Text(f"  .venv/bin/lineage web --store {folder}/store --open", "bold cyan"), soft_wrap=True)
    out.print("\nOr ask on the command line:")
    for line in (
        f'export LINEAGE_STORE={folder}/store PATH="$PWD/.venv/bin:$PATH"',
        f"lineage ancestors {LIAR}",
        f"lineage explain {LIAR} {CLAIMED}",
        "lineage declared --only contradicts",
        "lineage tree acme/digits-mlp",
        "lineage cypher 'MATCH (m)-[:FINE_TUNED_FROM*2]->(old) RETURN m.repo_id, old.repo_id'",
        f"lineage scan {folder}/family",
    ):
        out.print(Text(f"  {line}", "cyan"), soft_wrap=True)
    out.print("\nThe real Hub, into a graph of its own:")
    line = "LINEAGE_STORE=~/.lineage lineage sync --author openai-community --limit 20"
    out.print(Text(f"  {line}", "cyan"), soft_wrap=True)


_headings = 0


def heading(text: str) -> None:
    """The title of the next part."""
    global _headings
    _headings += 1
    out.print(f"\n[bold]{_headings}. {text}[/]\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
