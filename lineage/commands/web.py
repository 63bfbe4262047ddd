"""`lineage web`: the graph as pages on this machine, read only."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click

from lineage.commands.options import sketches_option, store_option


@click.command()
@store_option
@sketches_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; other than loopback asks for --password-file.",
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with one line NAME:PASSWORD (12 characters or more) that every request must carry.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A name by which the server is reached, for example behind a proxy. Can be repeated.",
)
@click.option("--open", "open_browser", is_flag=True, help="Also open the first page in a browser.")
@click.option("--json", "json_wanted", is_flag=True, help="Print the address as JSON, once the server answers.")
def web(
    store: str,
    sketches: str | None,
    port: int,
    host: str,
    password_file: Path | None,
    allow_host: tuple[str, ...],
    open_browser: bool,
    json_wanted: bool,
) -> None:
    """The graph as pages: search, families as drawn trees, the evidence of every edge, declared against detected, licences, runs.

    Read only, on loopback, until interrupted. Other `lineage` commands on the same --store work meanwhile, `lineage sync` too.
    Another address asks for a password file; put a proxy with TLS before it.

    \b
    lineage web
    lineage web --store bolt://graph:7687 --host 0.0.0.0 --password-file web-password --allow-host lineage.example.org
    """
    from lineage.locations import sketches_folder
    from lineage.web.serving import access_of, address_of, listen, opened_graph, serve

    access = access_of(host, password_file, allow_host)
    with ExitStack() as stack:
        listener = stack.enter_context(listen(host, port))
        graph = stack.enter_context(opened_graph(store))
        address = address_of(listener, host)

        def started() -> None:
            if json_wanted:
                click.echo(json.dumps({"url": address}))
            else:
                click.echo(f"lineage web at {address}   (stop with Ctrl-C)", err=True)
            if open_browser:
                click.launch(address)

        serve(graph, sketches_folder(store, sketches), store, access, listener, started)
