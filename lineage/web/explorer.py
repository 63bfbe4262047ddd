"""What each page of `lineage web` shows: a question to the graph, the values for a template, and the same as a document for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from lineage.graphdb.schema import counted, share_key
from lineage.graphdb.schema.rows import name_key
from lineage.moments import moment_of, utc_now
from lineage.pages.documents import edge_json, family_json, member_json, sheet_json
from lineage.pages.graph_relatives import KeptBroods
from lineage.pages.graph_source import edges_above, edges_between, members
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.picture import picture
from lineage.pages.provenance import model_provenance
from lineage.pages.render import render
from lineage.pages.sheet import FamilyView, compared, family_of, sheet_of
from lineage.pages.words import visible
from lineage.queries import load
from lineage.queries.family import common_ancestors, path
from lineage.queries.resolve import close_names
from lineage.web.addresses import Addresses, model_address, query

if TYPE_CHECKING:
    from lineage.graphdb.schema import Model
    from lineage.graphdb.store import Store
    from lineage.web.samples import Samples
    from lineage.web.survey import Survey

FOUND = 20  # names of a search at first: each is a record somewhere in the store, and most people find theirs among the first
MOST_FOUND = 200  # names of a search that was asked for more
OFFERED = 10  # names of a completion
LONGEST_QUERY = 200
MOST_CHILDREN = 2_000  # of one model, drawn
ACROSS = 120  # models drawn when a family is asked for as a whole


@dataclass(frozen=True, slots=True)
class Page:
    """
    Attributes:
        template, values: how it looks. document: what its JSON twin says. here: which entry of the navigation it belongs to.
    """

    template: str
    title: str
    values: Mapping[str, Any]
    document: Any
    here: str = ""
    status: int = 200


class NoSuchPage(Exception):
    """There is no such page; carries what was asked for and names that are close."""

    def __init__(self, what: str, close: Sequence[str] = ()):
        super().__init__(what)
        self.what, self.close = what, tuple(close)


class BadAddress(Exception):
    """A value in an address is invalid; the message says which."""


@dataclass(frozen=True)
class Explorer:
    """The pages over one graph.

    Attributes:
        samples: None where there are no samples of weights to make pictures of. source: what the pages call the store.
    """

    store: Store
    survey: Survey
    samples: Samples | None
    source: str = ""
    links: Addresses = field(default_factory=Addresses)
    kept: KeptBroods = field(default_factory=KeptBroods)

    def model_named(self, name: str) -> Model:
        """
        Raises:
            NotThere: the graph knows no model of that name or identity.
        """
        found = self.store.model(name) if 0 < len(name) <= 500 else None
        if found is None:
            raise NoSuchPage(
                f"The graph knows no model {visible(name)}.",
                close_names(self.store, name[:LONGEST_QUERY]) if name else (),
            )
        return found

    # Pages ------------------------------------------------------------------------------------------------------------

    def overview(self) -> Page:
        latest = self.survey.latest
        runs = self.store.runs(limit=5)
        values = {"survey": latest, "runs": runs, "contradicted": latest.compared.get("contradicts", ())[:6]}
        document = {
            "source": self.source,
            "surveyed_at": latest.made_at,
            "complete": latest.complete,
            "counts": latest.counts,
            "outcomes": latest.outcomes,
            "licence_conflicts": latest.conflict_count,
            "families": [{"model": name, "children": c, "descendants": d} for name, c, d in latest.families],
            "runs": [asdict(run) for run in runs],
        }
        return Page("overview.html", "Overview", values, document, "overview")

    def search(self, text: str, shown: int = FOUND) -> Page:
        """
        Args:
            shown: models at most.
        """
        rows = self._named(text, min(shown, MOST_FOUND))
        close = close_names(self.store, text) if text and not rows else []
        more = "/search" + query([("q", text), ("shown", MOST_FOUND)]) if shown <= len(rows) < MOST_FOUND else None
        document = {
            "query": text,
            "models": [{k: row[k] for k in ("hub_id", "repo_id", "license", "downloads", "answer")} for row in rows],
            "close": close,
        }
        return Page(
            "search.html",
            f"Search: {visible(text)}" if text else "Search",
            {"text": text, "rows": rows, "close": close, "more": more},
            document,
        )

    def complete(self, text: str) -> list[str]:
        """Names for the search field."""
        return [row["repo_id"] for row in self._named(text, OFFERED)]

    def _named(self, text: str, limit: int) -> list[dict[str, Any]]:
        """Models whose name or last part begins with a text: the name itself first, then the most downloaded."""
        wanted = name_key(text.strip()[:LONGEST_QUERY])
        if not wanted:
            return []
        rows = {
            row["hub_id"]: row for row in self.store.read(load("named_like").text, {"prefix": wanted, "limit": limit})
        }
        ranked = sorted(
            rows.values(),
            key=lambda row: (name_key(row["repo_id"]) != wanted, -(row["downloads"] or 0), row["repo_id"]),
        )
        return ranked[:limit]

    def model(self, name: str, at: str | None, opened: Sequence[str], more: Mapping[str, int]) -> Page:
        found = self.model_named(name)
        view = FamilyView(at=moment(at), opened=opened, more=more, fitting=30, shown=8, kept=self.kept)
        sheet = sheet_of(self.store, found.hub_id, view)
        links = Addresses(model_address(sheet.member), [("at", at)] if at else [], frozenset(opened), more)
        drawn = picture(sheet.folded, sheet.facts, links, sheet.id)
        about = f"Family of {visible(found.repo_id)}"
        family = Markup(render("_family.html", drawing=drawn, about=about, hint=""))
        values = {
            "sheet": sheet,
            "links": links,
            "family": family,
            "provenance": model_provenance(sheet),
            "family_address": model_address(sheet.member, "family"),
            "blast_address": model_address(sheet.member, "blast"),
            "compare_address": "/compare" + query([("a", found.repo_id)]),
        }
        return Page("model.html", visible(found.repo_id), values, sheet_json(sheet))

    def family(self, name: str, at: str | None, opened: Sequence[str], more: Mapping[str, int], least: float) -> Page:
        found = self.model_named(name)
        view = FamilyView(moment(at), least, opened, more, fitting=ACROSS, kept=self.kept)
        folded, facts = family_of(self.store, found.hub_id, view)
        member = facts[found.hub_id]
        kept = [(key, value) for key, value in (("at", at or ""), ("least", f"{least:g}" if least else "")) if value]
        address = model_address(member, "family")
        links = Addresses(address, kept, frozenset(opened), more)
        drawn = picture(folded, facts, links, found.hub_id)
        about = f"Family of {visible(found.repo_id)}" + (f" as of {at}" if at else "")
        hidden = sum(folded.hidden.values()) + sum(folded.closed.values())
        hint = f"{counted(len(folded.ids), 'model')} shown" + (
            f", {hidden:,} directly below them folded." if hidden else "."
        )
        values = {
            "member": member,
            "links": links,
            "family": Markup(render("_family.html", drawing=drawn, about=about, hint=hint)),
            "at": at,
            "least": least,
            "address": address,
            **self._range(),
        }
        document = {"model": found.repo_id, "as_of": at, **family_json(folded, facts)}
        return Page("family.html", about, values, document)

    def _range(self) -> dict[str, Any]:
        """The days that the as-of slider goes over."""
        rows = self.store.read(load("first_run").text, {})
        today = datetime.now(UTC).date()
        first = rows[0]["started_at"].date() if rows and rows[0]["started_at"] else today
        return {"first_day": min(first, today), "today": today, "days": max(1, (today - first).days)}

    def edge(self, child: str, parent: str) -> Page:
        young, old = self.model_named(child), self.model_named(parent)
        relations = edges_between(self.store, young.hub_id, old.hub_id)
        if not relations:
            raise NoSuchPage(f"The graph knows no relation from {visible(young.repo_id)} to {visible(old.repo_id)}.")
        facts = compared(self.store, members(self.store, {young.hub_id, old.hub_id}))
        current = [edge for edge in relations if edge.superseded_at is None and (edge.accepted or edge.possible)]
        edge = current[0] if current else relations[0]
        claim = next((one for one in relations if one.relation == "DECLARES_BASE" and one.superseded_at is None), None)
        shown = self.samples is not None and share_key(young.signature, old.signature)
        address = "/layers.svg" + query([("child", young.hub_id), ("parent", old.hub_id)]) if shown else None
        others = [one for one in edges_above(self.store, [young.hub_id]) if one.parent != old.hub_id]
        facts |= {m.id: m for m in members(self.store, {one.parent for one in others})}
        values = {
            "edge": edge,
            "facts": facts,
            "links": self.links,
            "layers": (),
            "most": 0,
            "picture": address,
            "why_no_layers": "The two cannot be compared value by value.",
            "claim": claim,
            "history": [one for one in relations if one is not edge and one.relation != "DECLARES_BASE"],
            "others": others,
            "provenance": edge_provenance(edge, facts),
        }
        document = {
            "edge": edge_json(edge, facts[young.hub_id], facts[old.hub_id]),
            "relations": [edge_json(one, facts[young.hub_id], facts[old.hub_id]) for one in relations],
            "other_candidates": [edge_json(one, facts[young.hub_id], facts.get(one.parent)) for one in others],
        }
        return Page("edge.html", f"{visible(young.repo_id)} and {visible(old.repo_id)}", values, document)

    def layers(self, child: str, parent: str) -> tuple[Any, ...] | str:
        """The layers of two models, or why there are none.

        Raises:
            NotThere: the graph does not know one of the two.
        """
        young, old = self.model_named(child), self.model_named(parent)
        if self.samples is None or young.weights_digest is None or old.weights_digest is None:
            return "The samples of the two models are missing."
        above = [edge for edge in edges_above(self.store, [old.hub_id]) if edge.accepted]
        since = next(iter(members(self.store, [above[0].parent])), None) if above else None
        return self.samples.layers(young.weights_digest, old.weights_digest, since.digest if since else None)

    def compare(self, a: str, b: str) -> Page:
        if not a or not b:
            return Page(
                "compare.html", "Compare two models", {"a": visible(a), "b": visible(b), "pair": None}, {"a": a, "b": b}
            )
        first, second = self.model_named(a), self.model_named(b)
        facts = compared(self.store, members(self.store, {first.hub_id, second.hub_id}))
        steps = path(self.store, first, second)
        shared = common_ancestors(self.store, first, second)[:10]
        direct = [
            *edges_between(self.store, first.hub_id, second.hub_id),
            *edges_between(self.store, second.hub_id, first.hub_id),
        ]
        way = {s.relative.hub_id for s in steps} | {s.ancestor.hub_id for s in shared}
        facts |= {m.id: m for m in members(self.store, way - set(facts))}
        comparable = self.samples is not None and share_key(first.signature, second.signature)
        same = first.weights_digest is not None and first.weights_digest == second.weights_digest
        values = {
            "a": _typed(first),
            "b": _typed(second),
            "pair": (facts[first.hub_id], facts[second.hub_id]),
            "steps": steps,
            "shared": shared,
            "direct": direct,
            "facts": facts,
            "links": self.links,
            "same": same,
            "picture": "/layers.svg" + query([("child", first.hub_id), ("parent", second.hub_id)])
            if comparable and not same and first.hub_id != second.hub_id
            else None,
        }
        document = {
            "a": member_json(facts[first.hub_id]),
            "b": member_json(facts[second.hub_id]),
            "same_weights": same,
            "comparable": comparable,
            "path": [
                {
                    "model": s.relative.repo_id,
                    "direction": s.direction,
                    "relation": s.relative.kind,
                    "probability": s.relative.probability,
                }
                for s in steps
            ],
            "common_ancestors": [
                {"model": s.ancestor.repo_id, "depth_a": s.depth_a, "depth_b": s.depth_b} for s in shared
            ],
        }
        return Page(
            "compare.html", f"{visible(first.repo_id)} beside {visible(second.repo_id)}", values, document, "compare"
        )


def _typed(model: Model) -> str:
    """The value that identifies a model in a form field: its name, or its identity where the name holds hidden characters."""
    return model.repo_id if visible(model.repo_id) == model.repo_id else model.hub_id


def moment(text: str | None, *, ends: bool = True) -> str | None:
    """A day or a moment of an address as the statements take it.

    Args:
        ends: a day means its end, as in "as of that day"; else its beginning.

    Raises:
        BadAddress: it is neither.
    """
    if not text:
        return None
    text = text.strip()
    if not text[:4].isdigit() or text[4:5] != "-":  # as on the command line: `7d`, `yesterday`
        ago = moment_of(text, utc_now())
        if ago is not None:
            return ago.isoformat()
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            at = datetime(day.year, day.month, day.day, tzinfo=UTC)
            return (at + timedelta(days=1) if ends else at).isoformat()
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadAddress("a moment is written like 2026-11-26, 2026-11-26T13:30:00Z, 7d or yesterday") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def edge_provenance(edge: EdgeFacts, facts: Mapping[str, Member]) -> list[tuple[str, str]]:
    """Where one edge is from."""
    rows = []
    for role, model, revision in (
        ("child", edge.child, edge.child_revision),
        ("parent", edge.parent, edge.parent_revision),
    ):
        member = facts.get(model)
        if member:
            rows += [
                (f"{role}", member.name),
                (f"{role}'s revision", revision or member.revision or "–"),
                (f"{role}'s weights", member.digest or "–"),
            ]
    for label, value in (
        ("method", " ".join(filter(None, (edge.method, edge.method_version)))),
        ("run", edge.run_id),
        ("first verified", edge.first_verified_at),
        ("last verified", edge.last_verified_at),
    ):
        if value:
            rows.append((label, f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else value))
    return rows
