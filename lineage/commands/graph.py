"""`lineage graph …`: the store itself. And the `--store` option that every command with a store takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.options import store_option
from lineage.commands.outputs import format_of, write
from lineage.graphdb.schema import Relation, counted, home_path, real_path

if TYPE_CHECKING:
    from lineage.graphdb.store import Store

ENDINGS = {
    ".graphml": "graphml",
    ".gexf": "gexf",
    ".json": "node-link",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".cdx.json": "cyclonedx",
    ".spdx.json": "spdx",
    ".nwk": "newick",
    ".newick": "newick",
}
OF_ONE_MODEL = ("cyclonedx", "spdx", "newick")


@click.group()
def graph() -> None:
    """The store itself: make it, count what is in it, serve it to others, export and copy it."""


@graph.command()
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def init(store: str, as_json: bool) -> None:
    """Make an empty graph, with its constraints and indexes. Does no harm to one that is there.

    Example: lineage graph init --store ./my-graph
    """
    from lineage.graphdb.schema import SCHEMA_VERSION
    from lineage.graphdb.store import open_store

    with open_store(store):
        pass
    if as_json:
        click.echo(json.dumps({"store": store, "schema_version": SCHEMA_VERSION}))
    else:
        click.echo(f"{store}: a lineage graph, schema version {SCHEMA_VERSION}")


@graph.command()
@store_option
@click.option("--digest", is_flag=True, help="Also a digest of the content: equal graphs have equal digests.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(store: str, digest: bool, as_json: bool) -> None:
    """Count models, edges and runs.

    Example: lineage graph stats --json
    """
    from lineage.graphdb.store import open_store

    with open_store(store, create=False) as opened:
        counts: dict[str, Any] = {"store": store, **opened.counts()}
        latest = next(iter(opened.runs(limit=1)), None)
        counts["last_run"] = latest.started_at.isoformat() if latest else None
        if digest:
            from lineage.graphdb.digest import graph_digest

            counts["digest"] = graph_digest(opened)
    if as_json:
        click.echo(json.dumps(counts))
        return
    from lineage.queries.display import moment_text, print_table

    rows = []
    for name, value in counts.items():
        if isinstance(value, int):
            word = Relation(name).word if name in set(Relation) else name
            rows.append([name.replace("status.", "models, ") if word == name else f"{name} ({word})", f"{value:,}"])
    print_table(["what", "count"], rows)
    click.echo(f"\n{store}; last pass: {f'{moment_text(latest.started_at)} UTC' if latest else 'none yet'}")
    if digest:
        click.echo(f"digest {counts['digest']}")


@graph.command()
@store_option
@click.option("--port", default=7687, show_default=True, help="Port of 127.0.0.1 to listen on.")
def serve(store: str, port: int) -> None:
    """Serve the embedded store to Neo4j drivers and other `lineage` processes, on 127.0.0.1 alone, until interrupted.

    User and password are those of NEO4J_USER (default root, and neo4j as well) and NEO4J_PASSWORD.

    Example: NEO4J_PASSWORD=… lineage graph serve --port 7687
    """
    from lineage.graphdb.serve import serve_store

    with serve_store(store, port) as server:
        click.echo(f"serving {store} at {server.url} for user {server.user}; stop with Ctrl-C", err=True)
        server.wait()


@graph.command()
@store_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["graphml", "gexf", "node-link", "csv", "dot", "mermaid", *OF_ONE_MODEL]),
    help="GraphML, GEXF, node-link JSON (networkx), CSV for neo4j-admin import, Graphviz DOT, or Mermaid; of one --model: "
    "its ancestry in CycloneDX 1.6 or SPDX 3, its family in Newick [default: as the file ends, else node-link].",
)
@click.option("--model", help="Only the family of this model; for cyclonedx and spdx its ancestry.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File, for csv a folder; without it: stdout.")
@click.option("--signature", help="Only models of this architecture.")
@click.option("--all", "everything", is_flag=True, help="Claims, ties and history too, not only accepted edges.")
def export(
    store: str, form: str | None, model: str | None, output: Path | None, signature: str | None, everything: bool
) -> None:
    """Write the graph, a family, or the ancestry of one model, in a format that other programs read.

    \b
    lineage graph export -o lineage.graphml
    lineage graph export --model acme/digits-mlp --format mermaid
    """
    json_document = form in ("cyclonedx", "spdx") and output is not None and output.suffix == ".json"
    if form != "csv" and not json_document:
        form = format_of(form, output, ENDINGS, "node-link")
    assert form is not None
    if form in OF_ONE_MODEL:
        if model is None:
            raise click.UsageError(f"--format {form} is about one model: give --model")
        write(_of_one_model(store, form, model), output)
        return
    if form == "csv" and output is None:
        raise click.UsageError("csv is several files: give --output FOLDER")
    from lineage.graphdb.export import export_graph
    from lineage.graphdb.store import open_store

    with open_store(store, create=False) as opened:
        only = _family(opened, model) if model is not None else None
        count = export_graph(opened, form, output or sys.stdout, signature=signature, everything=everything, only=only)
    click.echo(f"{counted(count.models, 'model')}, {counted(count.edges, 'edge')}", err=True)


def _family(store: Store, name: str) -> set[str]:
    """hub_ids of the family of a model, and of what it was possibly made from."""
    from lineage.queries.family import tree
    from lineage.queries.resolve import resolve

    return {relative.hub_id for relative in tree(store, resolve(store, name))}


def _of_one_model(store: str, form: str, name: str) -> str:
    """The document about one model."""
    from lineage.graphdb.store import open_store
    from lineage.queries.resolve import resolve

    with open_store(store, create=False) as opened:
        model = resolve(opened, name)
        if form == "newick":
            from lineage.queries.family import tree
            from lineage.queries.newick import newick

            return newick(tree(opened, model))
        from lineage.queries.pedigree import cyclonedx, pedigree, spdx

        found = pedigree(opened, model)
    document = cyclonedx(found) if form == "cyclonedx" else spdx(found)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@graph.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy a whole graph into an empty store, and compare both by digest. FROM and TO are folders or addresses.

    Example: lineage graph copy ~/.lineage bolt://127.0.0.1:7687
    """
    from lineage.graphdb.copy import copy_graph
    from lineage.graphdb.store import open_store

    if "://" not in source + target and real_path(home_path(source)) == real_path(home_path(target)):
        raise click.UsageError(f"FROM and TO are the same store, {source}")
    with open_store(source, create=False) as from_store, open_store(target) as to_store:
        copied = copy_graph(from_store, to_store)
    if as_json:
        click.echo(json.dumps({"nodes": copied.nodes, "edges": copied.edges, "digest": copied.digest}))
    else:
        click.echo(
            f"{counted(copied.nodes, 'node')} and {counted(copied.edges, 'edge')} copied; both digests are {copied.digest}"
        )
        _tell_samples(source, target)


def _tell_samples(source: str, target: str) -> None:
    """The samples of weights lie beside a graph, not in it: where they are, and how they get to where the copy looks for them."""
    from lineage.commands.messages import note
    from lineage.locations import sketches_folder

    here, there = sketches_folder(source, None), sketches_folder(target, None)
    if here != there:
        note(
            f"the samples of weights are not copied: `lineage sketches copy {here} {there}` brings them, or give --sketches {here}"
        )
