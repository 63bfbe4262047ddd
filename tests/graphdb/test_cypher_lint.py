"""Every .cypher file passes Neo4j's own parser and semantic analysis, for Cypher 5 and Cypher 25.

The linter is Neo4j's npm package @neo4j-cypher/language-support; it is installed once into `.neo4j/` of the checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from lineage.graphdb.statements import clean

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
PACKAGE = "@neo4j-cypher/language-support@2.0.0-next.38"
FOLDER = ROOT / ".neo4j" / "lint"
FILES = sorted([*(ROOT / "graphdb" / "cypher").glob("*.cypher"), *(ROOT / "queries").glob("*.cypher")])

MISTAKES = (
    "MATCH (m:Model) RETRUN m",
    "MATCH (m:Model) RETURN n",
    "MATCH (m:Model) RETURN m.x +",
    "RETURN (1 + {a: 1}",
)
LINT = """
const { lintCypherQuery } = require('@neo4j-cypher/language-support');
const statements = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const found = [];
for (const language of ['CYPHER 5', 'CYPHER 25']) {
  for (const [name, text] of statements) {
    const parameters = Object.fromEntries((text.match(/\\$\\w+/g) || []).map((found) => [found.slice(1), 1]));
    const { diagnostics } = lintCypherQuery(text, { defaultLanguage: language, parameters }, { consoleCommandsEnabled: false });
    for (const { severity, message } of diagnostics) if (severity === 1) found.push([language, name, message]);
  }
}
console.log(JSON.stringify(found));
"""


@cache
def linter() -> Path | str:
    """The folder in which the linter is installed, or why it is not."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node or npm is not installed"
    if not (FOLDER / "node_modules" / "@neo4j-cypher" / "language-support").exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "package.json").write_text("{}")
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        if done.returncode:
            return f"npm cannot install {PACKAGE}: {done.stderr[-300:]}"
    return FOLDER


def lint(statements: list[tuple[str, str]]) -> list[list[str]]:
    """[language, name, message] of every error."""
    folder = linter()
    if isinstance(folder, str):
        if os.environ.get("LINEAGE_REQUIRE_LINT") == "1":
            pytest.fail(folder)
        pytest.skip(folder)
    done = subprocess.run(
        ["node", "-e", LINT], cwd=folder, input=json.dumps(statements), capture_output=True, text=True, check=True
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


@cache
def lint_everything() -> list[list[str]]:
    """Errors in every file and in some mistakes, in one go: starting the linter is what takes time."""
    statements = [
        (file.name, part.strip()) for file in FILES for part in clean(file.read_text(encoding="utf-8")).split(";")
    ]
    assert len(statements) > 40
    return lint([*statements, *((text, text) for text in MISTAKES)])


def test_neo4js_own_linter_accepts_every_cypher_file() -> None:
    assert [error for error in lint_everything() if error[1] not in MISTAKES] == []


def test_the_linter_finds_mistakes() -> None:
    assert {name for _, name, _ in lint_everything() if name in MISTAKES} == set(MISTAKES)
