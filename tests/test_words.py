"""The words of messages, docstrings and documents: plain technical English, one spelling, numbers that agree with their nouns."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lineage.graphdb.schema import counted
from tests.test_structure import ROOT, parsed, shipped

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "detect" / "detector_card.md"]
BANNED = {
    r"\b(nobody|everybody|anybody|somebody|whoever)\b": "name the thing: all workers, another user, the reader",
    r"\bat most so (many|much)\b|\b(after|with|of) so many\b": "maximum number of ...",
    r"\bstands? (for|in for)\b|\bstands in it\b": "represents, means, contains",
    r"\bthat (is|are) none\b|\bholds something that is none\b": "invalid",
    r"\b(cannot be|could be|is|are|was) told\b|\btold to\b|\bhave told\b": "undecided, computed, printed",
    r"\bthat we may see\b": "does not exist or is private",
    r"\bdoes not begin like\b": "missing magic number",
    r"\bedges new\b|, \d+ as before\b": "new edges, confirmed",
    r"\bstops? knocking\b": "pause",
    r"\b1 (models|requests|edges|files|bytes|tensors|keys|layers)\b": "1 model",
}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string and comment of a module; names of variables are no text."""
    source = path.read_text()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@cache
def everything() -> tuple[tuple[str, str], ...]:
    """(place, text) of all that is read by people."""
    found = [(f"{path.relative_to(ROOT)}:{line}", text) for path in shipped() for line, text in texts(path)]
    pages = [*(ROOT / "lineage" / "pages" / "templates").glob("*.html"), *(ROOT / "queries").glob("*.cypher")]
    files = [*DOCUMENTS, *pages, *(ROOT / "graphdb" / "cypher").glob("*.cypher")]
    return (*found, *((str(path.relative_to(ROOT)), path.read_text()) for path in files))


@pytest.mark.parametrize("pattern", BANNED)
def test_messages_docstrings_and_documents_use_plain_words(pattern: str) -> None:
    banned = re.compile(pattern, re.IGNORECASE)
    found = [f"{place}: {hit[0]!r}" for place, text in everything() for hit in [banned.search(text)] if hit]
    assert not found, f"write {BANNED[pattern]}: " + "; ".join(found)


@pytest.mark.parametrize(
    "text",
    ["At most so many models.", "there is no repository x that we may see", "a digest that is none", "1 requests"],
)
def test_the_guard_finds_what_crept_in_before(text: str) -> None:
    assert any(re.search(pattern, text, re.IGNORECASE) for pattern in BANNED)


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(n, "request") for n in (0, 1, 2, 5000)] == [
        "0 requests",
        "1 request",
        "2 requests",
        "5,000 requests",
    ]
    assert counted(1, "child", "children") == "1 child" and counted(3, "child", "children") == "3 children"


SPELT_SO_ON_DISK = (
    "'quantised: %'",
    "'quantised: '",
    "quantisation_split",
    '"quantisation"',
    "COLUMN quantisation",
    "SET quantisation",
)
SPELT_SO_ON_DISK += (
    "m.quantisation",
    "child.quantisation",
    "parent.quantisation",
    "quantisation: row.props.quantisation",
    "`quantisation`",
)


def test_quantize_is_spelt_with_z_wherever_no_earlier_version_wrote_it() -> None:
    found = []
    modules = [*shipped(), *(ROOT / "bench").rglob("*.py")]
    for path in [
        *modules,
        *DOCUMENTS,
        *(ROOT / "queries").glob("*.cypher"),
        *(ROOT / "graphdb" / "cypher").glob("*.cypher"),
    ]:
        text = path.read_text()
        for kept in SPELT_SO_ON_DISK:
            text = text.replace(kept, "")
        found += [f"{path.relative_to(ROOT)}: {hit}" for hit in re.findall(r"\w*quantis\w*", text, re.IGNORECASE)]
    assert not found
