"""The commands about one model's relatives: `lineage ancestors`, `descendants`, `siblings`, `tree`, `path`, `common-ancestor`, `licences`,
`blast-radius`. Tables and trees for people, `--json` and `--csv` for programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage.commands.completion import complete_model
from lineage.commands.messages import note
from lineage.commands.outputs import draw_or_none, drawn_options, fail_if, fail_on_option
from lineage.commands.tables import (
    RELATIVE,
    WAY,
    as_row,
    limits,
    note_gone,
    short_names,
    show,
    show_rows,
    some_of,
    walk_options,
)

OWN = "own"  # outcome of the model that was asked about
CONFLICT = ("repo_id", "license", "ancestor", "above", "depth", "outcome", "reason", "hub_id", "ancestor_id")

if TYPE_CHECKING:
    from lineage.graphdb.schema import Model
    from lineage.pages.figures import Figure
    from lineage.queries.blast import Heir
    from lineage.queries.family import Step
    from lineage.queries.walk import Relative


@click.command()
@click.argument("model", shell_complete=complete_model)
@walk_options
@click.option("--generation", type=click.IntRange(min=1), metavar="N", help="Only the Nth: 2 for the grandparents.")
def ancestors(
    model: str,
    store: str,
    depth: int | None,
    kinds: tuple[str, ...],
    min_probability: float,
    form: str | None,
    generation: int | None,
) -> None:
    """What a model comes from, nearest first. MODEL is a repository, its id, a path, or the end of a path.

    Example: lineage ancestors acme/digits-mlp-rotated
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.walk import ancestors as ask

    with open_store(store, create=False) as opened:
        start = resolved(opened, model)
        found = ask(opened, start.hub_id, limits(generation or depth, kinds, min_probability))
        if generation:
            found = [relative for relative in found if relative.depth == generation]
        note_gone(opened, start, found)
    show(
        found, form, f"{start.repo_id} has no known ancestor" + (f" {generation} generations up" if generation else "")
    )


@click.command()
@click.argument("model", shell_complete=complete_model)
@walk_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Print only the first N.")
def descendants(
    model: str,
    store: str,
    depth: int | None,
    kinds: tuple[str, ...],
    min_probability: float,
    form: str | None,
    limit: int | None,
) -> None:
    """What comes from a model, nearest first. MODEL is a repository, its id, a path, or the end of a path.

    Example: lineage descendants acme/digits-mlp --depth 2
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.blast import same_files
    from lineage.queries.walk import descendants as ask

    with open_store(store, create=False) as opened:
        start = resolved(opened, model)
        found = ask(opened, start.hub_id, limits(depth, kinds, min_probability), limit)
        listed = {relative.hub_id for relative in found}
        same = [name for hub_id, name in same_files(opened, start) if hub_id not in listed]
        note_gone(opened, start, found)
    show(found, form, f"nothing is known to come from {start.repo_id}")
    if same and limit is None:
        note(f"the same files are in {some_of(same)}; `lineage blast-radius` follows them too")


@click.command()
@click.argument("model", shell_complete=complete_model)
@walk_options
def siblings(
    model: str, store: str, depth: int | None, kinds: tuple[str, ...], min_probability: float, form: str | None
) -> None:
    """Models with the same parent; with --depth 2 also with the same grandparent, and so on.

    Example: lineage siblings acme/digits-mlp-rotated
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.family import siblings as ask

    with open_store(store, create=False) as opened:
        start = resolved(opened, model)
        found = ask(opened, start, limits(depth, kinds, min_probability))
    show(found, form, f"{start.repo_id} has no known sibling")


@click.command()
@click.argument("model", shell_complete=complete_model)
@walk_options
@drawn_options
@click.option("--all", "everything", is_flag=True, help="Print every model, also of very large families.")
def tree(
    model: str,
    store: str,
    depth: int | None,
    kinds: tuple[str, ...],
    min_probability: float,
    form: str | None,
    drawn: str,
    output: Path | None,
    everything: bool,
) -> None:
    """The whole family of a model, from its oldest known ancestor down.

    \b
    lineage tree acme/digits-mlp
    lineage tree acme/digits-mlp -o family.html
    lineage tree acme/digits-mlp --format mermaid
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.family import other_parents
    from lineage.queries.family import tree as ask

    followed = limits(depth, kinds, min_probability)
    with open_store(store, create=False) as opened:
        start = resolved(opened, model)
        found = ask(opened, start, followed)
        others = other_parents(opened, found, followed)
        note_gone(opened, start, found)
    form = draw_or_none(drawn, output, form == "json", lambda: figure_of(start, found)) or form
    if form:
        show(found, form, "")
        return
    from lineage.queries.display import print_trees

    beside = (other.repo_id for some in others.values() for other in some)
    named = short_names([*(relative.repo_id for relative in found), *beside])
    print_trees(found, start.hub_id, everything, named, others)


@click.command()
@click.argument("a", shell_complete=complete_model, metavar="MODEL_A")
@click.argument("b", shell_complete=complete_model, metavar="MODEL_B")
@walk_options
@drawn_options
def path(
    a: str,
    b: str,
    store: str,
    depth: int | None,
    kinds: tuple[str, ...],
    min_probability: float,
    form: str | None,
    drawn: str,
    output: Path | None,
) -> None:
    """How two models are related, edge by edge: up to the nearest model both come from, then down. `lineage explain` has the
    evidence of one edge.

    Example: lineage path acme/digits-mlp-rotated acme/digits-mlp
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.family import decided_by
    from lineage.queries.family import path as ask

    with open_store(store, create=False) as opened:
        steps = ask(opened, resolved(opened, a), resolved(opened, b), limits(depth, kinds, min_probability))
        evidence = decided_by(opened, steps)
    form = draw_or_none(drawn, output, form == "json", lambda: figure_of_path(f"From {a} to {b}", steps)) or form
    if form or not steps:
        rows = [
            {**as_row(step.relative), "direction": step.direction, "decided_by": list(why)}
            for step, why in zip(steps, evidence, strict=True)
        ]
        show_rows(rows, form, f"{a} and {b} share no known ancestor", (*RELATIVE, "direction", "decided_by"))
        return
    from lineage.queries.display import print_path

    print_path(steps, evidence, short_names(step.relative.repo_id for step in steps))


@click.command("common-ancestor")
@click.argument("a", shell_complete=complete_model, metavar="MODEL_A")
@click.argument("b", shell_complete=complete_model, metavar="MODEL_B")
@walk_options
def common_ancestor(
    a: str, b: str, store: str, depth: int | None, kinds: tuple[str, ...], min_probability: float, form: str | None
) -> None:
    """The models that two models both come from, nearest first. Depth counts from MODEL_A.

    Example: lineage common-ancestor acme/digits-mlp-rotated acme/digits-mlp-noisy
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.family import common_ancestors as ask

    with open_store(store, create=False) as opened:
        shared = ask(opened, resolved(opened, a), resolved(opened, b), limits(depth, kinds, min_probability))
    none = f"{a} and {b} share no known ancestor"
    if form:
        rows = [{**as_row(item.ancestor), "depth_a": item.depth_a, "depth_b": item.depth_b} for item in shared]
        show_rows(rows, form, none, (*RELATIVE, "depth_a", "depth_b"))
        return
    for_people: list[dict[str, Any]] = [
        {"model": item.ancestor.repo_id, "a": item.depth_a, "b": item.depth_b} for item in shared
    ]
    show_rows(for_people, None, none, names={"a": f"above {a}", "b": f"above {b}"})


@click.command()
@click.argument("model", shell_complete=complete_model, required=False)
@walk_options
@click.option("--conflicts", is_flag=True, help="Only those that contradict the model's own licence.")
@fail_on_option("conflict")
def licences(
    model: str | None,
    store: str,
    depth: int | None,
    kinds: tuple[str, ...],
    min_probability: float,
    form: str | None,
    conflicts: bool,
    fail_on: str | None,
) -> None:
    """The licences along the chain above a model, and which of them its own contradicts: something to look at, no legal advice.

    The model itself comes first, with generation 0. Without MODEL all conflicts in the graph, within six generations.

    \b
    lineage licences acme/digits-mlp-rotated
    lineage licences --conflicts --fail-on conflict
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.licences import all_conflicts, licence_chain

    if model is None:
        with open_store(store, create=False) as opened:
            found = list(all_conflicts(opened))
        show_rows(found, form, "no licence in the graph contradicts one above it", CONFLICT)
        fail_if(fail_on, (row["outcome"] for row in found))
        return
    with open_store(store, create=False) as opened:
        start = resolved(opened, model)
        chain = licence_chain(opened, start, limits(depth, kinds, min_probability))
    rows = [
        {**as_row(link.ancestor), "license": link.license, "outcome": link.outcome, "reason": link.reason}
        for link in chain
        if link.outcome == "conflict" or not conflicts
    ]
    none = f"no licence above {start.repo_id} is contradicted" if chain else f"{start.repo_id} has no known ancestor"
    if rows or not conflicts:
        about = {"depth": 0, "kind": None, "probability": None, "license": start.license, "outcome": OWN}
        rows = [{"repo_id": start.repo_id, **about, "reason": "what those above are compared with"}, *rows]
    show_rows(rows, form, none, (*RELATIVE, "license", "outcome", "reason"))
    if not form and len(rows) == 1:
        note(none)
    fail_if(fail_on, (row["outcome"] for row in rows))


@click.command("blast-radius")
@click.argument("model", shell_complete=complete_model)
@walk_options
@drawn_options
def blast_radius(
    model: str,
    store: str,
    depth: int | None,
    kinds: tuple[str, ...],
    min_probability: float,
    form: str | None,
    drawn: str,
    output: Path | None,
) -> None:
    """Who inherits a flaw of a model: everything that comes from it, with the way there and its weakest edge, the surest first.

    Models whose weight files have the same bytes count as well, whichever was copied from which, and what comes from them.

    Example: lineage blast-radius acme/digits-mlp --min-probability 0.9
    """
    from lineage.commands.named_models import resolved
    from lineage.graphdb.store import open_store
    from lineage.queries.blast import blast_radius as ask

    with open_store(store, create=False) as opened:
        start = resolved(opened, model)
        heirs = ask(opened, start, limits(depth, kinds, min_probability))
        note_gone(opened, start, heirs)
    form = draw_or_none(drawn, output, form == "json", lambda: figure_of_heirs(start, heirs)) or form
    rows = [
        {
            "repo_id": heir.repo_id,
            "depth": len(heir.way) - 1,
            "kind": heir.kind,
            "weakest": heir.weakest,
            "way": list(heir.way) if form else WAY.join(heir.way),
        }
        for heir in heirs
    ]
    none = f"nothing is known to come from {start.repo_id}"
    show_rows(rows, form, none, ("repo_id", "depth", "kind", "weakest", "way"))


def figure_of(start: Model, found: Sequence[Relative]) -> Figure:
    """A family as a figure, the model that was asked for marked."""
    from lineage.pages.figures import Figure
    from lineage.pages.members import EdgeFacts

    edges = tuple(EdgeFacts(r.hub_id, r.via, r.kind or "", r.probability) for r in found if r.via is not None)
    named = short_names([start.repo_id, *(r.repo_id for r in found)])
    return Figure(
        f"Family of {named(start.repo_id)}", {r.hub_id: named(r.repo_id) for r in found}, edges, {}, start.hub_id
    )


def figure_of_path(title: str, steps: Sequence[Step]) -> Figure:
    """The way between two models as a figure."""
    from lineage.pages.figures import Figure
    from lineage.pages.members import EdgeFacts

    edges = []
    for before, after in pairwise(steps):
        ends = before.relative.hub_id, after.relative.hub_id
        child, parent = ends if after.direction == "up" else ends[::-1]
        edges.append(EdgeFacts(child, parent, after.relative.kind or "", after.relative.probability))
    named = short_names(step.relative.repo_id for step in steps)
    names = {step.relative.hub_id: named(step.relative.repo_id) for step in steps}
    return Figure(title, names, tuple(edges), {}, steps[0].relative.hub_id if steps else None)


def figure_of_heirs(start: Model, heirs: Sequence[Heir]) -> Figure:
    """What inherits from a model as a figure: of each the last edge of its surest way."""
    from lineage.graphdb.schema import chance
    from lineage.pages.figures import Figure
    from lineage.pages.members import EdgeFacts

    ids = {start.repo_id: start.hub_id, **{heir.repo_id: heir.hub_id for heir in heirs}}
    edges = tuple(EdgeFacts(heir.hub_id, ids[heir.way[-2]], heir.kind or "", heir.weakest) for heir in heirs)
    notes = {heir.hub_id: f"weakest edge {chance(heir.weakest)}" for heir in heirs}
    named = short_names([start.repo_id, *(heir.repo_id for heir in heirs)])
    names = {start.hub_id: named(start.repo_id), **{heir.hub_id: named(heir.repo_id) for heir in heirs}}
    return Figure(f"Blast radius of {named(start.repo_id)}", names, edges, notes, start.hub_id)
