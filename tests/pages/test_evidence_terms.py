"""Every number that detection keeps with an edge has a meaning on pages and in docs/evidence.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from lineage.pages.evidence_terms import MEANINGS, terms
from tests.transcripts import EVIDENCE, evidence_table

ROOT = Path(__file__).parent.parent.parent
HOLDERS = {"evidence", "numbers"}  # variables and arguments whose dictionaries become evidence
MAKERS = {"_evidence", "edge_evidence"}  # functions that return such dictionaries


def entries(tree: ast.AST) -> Iterator[str]:
    """Names of evidence that a module of `detect/` writes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in HOLDERS:
            yield from keys(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "withdrawn":
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in HOLDERS:
                    yield from keys(node.value)
                if isinstance(target, ast.Subscript) and ast.unparse(target.value) in HOLDERS:
                    assert isinstance(target.slice, ast.Constant)
                    yield str(target.slice.value)
        elif isinstance(node, ast.FunctionDef) and node.name in MAKERS:
            yield from (key for part in ast.walk(node) if isinstance(part, ast.Return) for key in keys(part.value))


def keys(value: ast.AST | None) -> Iterator[str]:
    """Constant keys of the dictionaries that an expression is made of, not of those inside their values."""
    if isinstance(value, ast.Dict):
        for key, inner in zip(value.keys, value.values, strict=True):
            if key is None:
                yield from keys(inner)
            elif isinstance(key, ast.Constant):
                yield str(key.value)
    elif isinstance(value, ast.BinOp):
        yield from (*keys(value.left), *keys(value.right))
    elif isinstance(value, ast.IfExp):
        yield from (*keys(value.body), *keys(value.orelse))


def written() -> dict[str, str]:
    """Every entry, and a module that writes it."""
    return {
        name: module.name
        for module in sorted((ROOT / "detect").glob("*.py"))
        for name in entries(ast.parse(module.read_text()))
    }


def test_every_entry_of_the_evidence_has_a_meaning() -> None:
    found = written()
    assert {"growth_z", "format", "rank", "misfit", "part", "equal_to", "share_matched", "equal_shapes"} <= found.keys()
    assert {name: module for name, module in found.items() if name not in MEANINGS} == {}


def test_the_page_about_evidence_lists_every_entry() -> None:
    page = (ROOT / "docs" / "evidence.md").read_text()
    listed = EVIDENCE.search(page)
    assert listed is not None and listed[0] == evidence_table(), "run `make readme`"


def test_numbers_are_shown_with_their_meaning_and_unknown_ones_under_their_own_name() -> None:
    shown = {term.name: term for term in terms({"new_number": 3, "growth_z": 12.5, "share": None})}
    assert [*shown] == ["growth_z", "new_number"]
    assert shown["growth_z"].bar == 1.0 and "above 3 the parent came first" in shown["growth_z"].meaning
    assert shown["new_number"].label == "new number" and shown["new_number"].meaning == ""
