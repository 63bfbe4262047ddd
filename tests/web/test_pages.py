"""Every page answers in HTML and as JSON, says what the graph says, and shows hostile names as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from lineage.graphdb.store import Store
from lineage.web.app import application
from lineage.web.explorer import FOUND, Explorer
from lineage.web.guard import Access, Guard
from lineage.web.survey import Survey
from tests.graphs import a_model
from tests.pages.families import HOSTILE, tell
from tests.web.asking import ask

PAGES = [
    "/",
    "/search?q=org/",
    "/search?q=",
    "/model/org/b",
    "/model/id-hostile-1",
    "/family/org/a",
    "/family/org/a?at=2026-01-02&least=0.5",
    "/blast/org/a",
    "/edge?child=org/b&parent=org/a",
    "/edge?child=id-u&parent=id-b",
    "/edge?child=id-d&parent=id-c",
    "/compare?a=org/f&b=org/q",
    "/compare",
    "/compare?a=org/b&b=org/a",
    "/declared",
    "/declared?outcome=agree",
    "/declared?outcome=cannot+tell",
    "/licences",
    "/licences?q=llama",
    "/runs",
    "/changes?since=2026-01-01&until=2026-01-05",
]
VOID = {"meta", "link", "input", "br", "img", "rect", "path", "line", "circle", "hr"}


class Reader(HTMLParser):
    """Elements, attributes and text of a page; a tag left open is an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> does not close what is open: {self.open}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("target", PAGES)
def test_a_page_is_well_formed_and_has_a_json_twin(app: Guard, target: str) -> None:
    answer = ask(app, target)
    assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    page = read(answer.text)
    titles = [tag for tag, _ in page.elements if tag == "h1"]
    assert len(titles) == 1
    (twin,) = [attrs["href"] for tag, attrs in page.elements if tag == "link" and attrs.get("rel") == "alternate"]
    assert twin is not None
    document = ask(app, twin)
    assert document.status == 200 and document.headers["content-type"] == "application/json"
    assert document.json is not None


@pytest.mark.parametrize("target", PAGES)
def test_a_page_runs_nothing_but_our_script_and_leads_nowhere_else(app: Guard, target: str) -> None:
    page = read(ask(app, target).text)
    for tag, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], (tag, attrs)
        assert tag not in ("iframe", "object", "embed", "base", "style")
        if tag == "script":
            assert attrs == {"src": "/static/app.js", "defer": None}
        for name in ("href", "src", "action"):
            value = attrs.get(name)
            assert value is None or (value.startswith(("/", "#")) and not value.startswith("//")), (tag, name, value)


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_a_hostile_name_is_text_on_every_page_about_it(app: Guard, place: int) -> None:
    model = f"id-hostile-{place}"
    for target in (
        f"/model/{model}",
        f"/family/{model}",
        f"/blast/{model}",
        f"/compare?a={model}&b=id-a",
        f"/search?q={quote(HOSTILE[place][:60])}",
    ):
        answer = ask(app, target)
        page = read(answer.text)
        assert answer.status == 200
        assert "\x07" not in answer.text and "\u202e" not in answer.text and "\x1b" not in answer.text
        assert not any(tag in ("script", "img") and attrs.get("src") in (None, "x") for tag, attrs in page.elements)
        assert "49" not in "".join(page.words) or "{{" not in HOSTILE[place]
    found = ask(app, f"/model/{model}?format=json").json
    assert found["model"] == HOSTILE[place]


@pytest.mark.parametrize("place", range(len(HOSTILE)))
@pytest.mark.parametrize("kind", ["model", "family", "blast"])
def test_a_page_by_any_name_has_a_json_twin_of_the_same_model(app: Guard, kind: str, place: int) -> None:
    page = read(ask(app, f"/{kind}/{quote(HOSTILE[place], safe='')}?at=2026-06-01").text)
    (twin,) = [attrs["href"] for tag, attrs in page.elements if tag == "link" and attrs.get("rel") == "alternate"]
    assert twin is not None and twin.isascii() and twin.isprintable()
    found = ask(app, twin)
    assert found.status == 200 and found.json["model"] == HOSTILE[place]


def test_a_page_that_is_not_there_leads_to_no_other_host(app: Guard) -> None:
    page = read(ask(app, "//evil.example/x").text)
    links = [attrs["href"] or "" for tag, attrs in page.elements if tag in ("a", "link")]
    assert "/evil.example/x?format=json" in links and not [link for link in links if link.startswith("//")]


def test_hostile_names_of_addresses_are_not_found(app: Guard) -> None:
    for name in (
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        "%00",
        "a" * 2000,
        "%ff%fe",
        "<script>",
        "~root",
        ".",
    ):
        answer = ask(app, "/model/" + name)
        assert answer.status == 404, name
        assert "root:" not in answer.text
        read(answer.text)
    for target in (
        "/../../etc/passwd",
        "/static/../app.py",
        "/static/..%2f..%2fapp.py",
        "/static/macros.html",
        "/nothing",
        "//evil.example/",
    ):
        assert ask(app, target).status == 404, target


INVALID = [
    "/family/org/a?at=someday",
    "/family/org/a?at=2026-13-40",
    "/family/org/a?least=nan",
    "/family/org/a?least=7",
]
INVALID += [
    "/family/org/a?least=x",
    "/declared?outcome=lies",
    "/declared?page=0",
    "/declared?page=x",
    "/changes?since=x",
]


@pytest.mark.parametrize("target", [*INVALID, "/licences?page=99999999999"])
def test_a_value_that_is_invalid_is_said_so(app: Guard, target: str) -> None:
    answer = ask(app, target)
    assert answer.status == 400
    assert "error" in ask(app, target + "&format=json").json


@pytest.mark.parametrize("moment", ["7d", "yesterday", "2026-11-01"])
def test_moments_are_written_as_on_the_command_line(app: Guard, moment: str) -> None:
    assert ask(app, f"/changes?since={moment}").status == 200


def test_unfolding_values_cannot_harm(app: Guard) -> None:
    for query in (
        "open=nobody",
        "more=9999999.id-a",
        "more=5.id-a&more=x&more=.&more=1.",
        "open=" + "&open=".join(map(str, range(300))),
    ):
        assert ask(app, "/family/org/a?" + query).status == 200


def test_the_model_page_says_what_the_graph_says(app: Guard) -> None:
    found = ask(app, "/model/org/e?format=json").json
    parents = [(edge["parent"], edge["relation"], edge["share"]) for edge in found["parents"]]
    assert parents == [("org/b", "MERGED_FROM", 0.6), ("org/c", "MERGED_FROM", 0.4)]
    licences = {row["model"]: row["outcome"] for row in found["licences"]}
    assert licences == {"org/e": "own", "org/b": "conflict", "org/c": "conflict", "org/a": "conflict"}
    text = ask(app, "/model/org/lie").text
    assert "card contradicts" in text and "org/c is declared; the weights come from org/b" in text
    assert "because of &lt;b&gt;this&lt;/b&gt;" in text
    undecided = ask(app, "/model/org/u?format=json").json
    assert undecided["answer"] == "undecided" and undecided["possible"][0]["parent"] == "org/b"
    assert any("No parent is asserted" in line for line in undecided["doubts"])


def test_names_are_found_in_any_case_by_both_parts_and_by_identity(app: Guard) -> None:
    assert ask(app, "/model/ORG/B").status == 200
    assert [row["repo_id"] for row in ask(app, "/search?q=LIE&format=json").json["models"]] == ["org/lie"]
    assert "org/lie" in ask(app, "/complete?q=org/l").json
    assert ask(app, "/complete?q=").json == []
    assert ask(app, "/model/org/lies").status == 404
    assert "org/lie" in ask(app, "/model/org/lies").text


def test_a_search_shows_the_first_models_and_more_when_asked(store: Store) -> None:
    store.upsert_models([a_model(f"many-{place:02}", downloads=place) for place in range(30)])
    app = application(Explorer(store, Survey(store), None), Access())
    first = ask(app, "/search?q=many&format=json").json["models"]
    assert len(first) == FOUND
    assert [row["downloads"] for row in first] == sorted((row["downloads"] for row in first), reverse=True)
    assert "/search?q=many&amp;shown=200" in ask(app, "/search?q=many").text
    everything = ask(app, "/search?q=many&shown=200")
    assert everything.text.count("/model/org/many-") == 30 and "Show more" not in everything.text
    assert ask(app, "/search?q=many&shown=none").status == 400


def test_an_edge_has_its_numbers_with_their_meaning(app: Guard) -> None:
    text = ask(app, "/edge?child=org/b&parent=org/a").text
    assert "trained detector" in text and "a new number" in text and "−" not in text
    assert 'class="contra"' in text and 'class="pro"' in text
    superseded = ask(app, "/edge?child=id-d&parent=id-c").text
    assert "This no longer holds" in superseded
    assert ask(app, "/edge?child=id-a&parent=id-q").status == 404


def test_the_family_as_of_an_earlier_day(app: Guard) -> None:
    now = ask(app, "/family/org/d?format=json").json
    then = ask(app, "/family/org/d?at=2026-01-02&format=json").json
    assert {"child": "org/d", "parent": "org/c", "relation": "FINE_TUNED_FROM", "probability": 0.7} in then["edges"]
    assert all(edge["parent"] != "org/c" or edge["child"] != "org/d" for edge in now["edges"])


def test_the_lists_are_those_of_the_survey(app: Guard) -> None:
    declared = ask(app, "/declared?format=json").json
    found = [(row["name"], row["detected"]) for row in declared["models"]]
    assert found == [(HOSTILE[0], ["org/a"]), ("org/lie", ["org/b"])]
    conflicts = ask(app, "/licences?q=org/f&format=json").json["conflicts"]
    assert {(row["name"], row["ancestor_name"]) for row in conflicts} == {
        ("org/f", name) for name in ("org/a", "org/b", "org/c")
    }
    assert ask(app, "/licences?q=nobody&format=json").json["found"] == 0
    changes = ask(app, "/changes?since=2026-01-03&until=2026-01-03&format=json").json["changes"]
    assert [(row["change"], row["child"], row["parent"]) for row in changes] == [("superseded", "org/d", "org/c")]


def test_the_overview_while_it_is_surveyed(told_store: Store) -> None:
    young = application(Explorer(told_store, Survey(told_store), None), Access())
    answer = ask(young, "/")
    assert answer.status == 200 and "is being surveyed" in answer.text
    read(answer.text)


def test_claims_are_not_counted_before_they_are_surveyed(told_store: Store) -> None:
    young = application(Explorer(told_store, Survey(told_store), None), Access())
    page = ask(young, "/declared").text
    assert '<span class="small">…</span>' in page and '<span class="small">0</span>' not in page and "None." not in page


def test_layers_without_samples_are_a_note(app: Guard) -> None:
    answer = ask(app, "/layers.svg?child=org/b&parent=org/a")
    assert answer.status == 200 and answer.headers["content-type"] == "image/svg+xml"
    assert "are missing" in answer.text
    assert ask(app, "/layers.svg?child=nobody&parent=org/a").status == 404


def test_a_survey_finds_what_the_questions_find(store: Store) -> None:
    tell(store)
    snapshot = Survey(store, clock=lambda: datetime(2026, 1, 5, tzinfo=UTC)).make()
    assert snapshot.complete and snapshot.counts["models"] == 9 + len(HOSTILE)
    assert snapshot.families[0][0] == "org/a"
    assert snapshot.outcomes["contradicts"] == 2 and snapshot.outcomes["agree"] == 1
    pairs = {(one.name, one.ancestor_name) for one in snapshot.conflicts}
    assert ("org/e", "org/c") in pairs and ("org/b", "org/a") not in pairs
    assert snapshot.conflict_count == len(snapshot.conflicts)


def test_the_style_sheet_and_the_script_hold_no_address(app: Guard) -> None:
    for name in ("style.css", "app.js", "icon.svg"):
        text = ask(app, f"/static/{name}").text
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), name
    assert "innerHTML" not in ask(app, "/static/app.js").text and "eval(" not in ask(app, "/static/app.js").text
