"""SARIF and JUnit of findings: read again by other programs, valid whatever a name holds."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import jsonschema
import pytest
import xmlschema
from junitparser import Failure, JUnitXml, Skipped
from sarif_pydantic import Sarif

from lineage.verify.checks import Check, Outcome
from lineage.verify.documents import as_json, as_junit, as_sarif, as_text
from tests.pages.families import HOSTILE

CHECKS = [
    Check("declared", "org/a", Outcome.CONTRADICTED, "the card is wrong", {"declared": ["org/b"]}),
    Check("licence", "org/a", Outcome.CANNOT_TELL, "no licence"),
    Check("parent", "sub/b", Outcome.HOLDS, "as expected", {"probability": 0.99}),
]
DATA = Path(__file__).parent.parent / "data"
SARIF_SCHEMA = json.loads(lzma.decompress((DATA / "sarif-2.1.0-rtm.5.json.xz").read_bytes()))
JUNIT_SCHEMA = xmlschema.XMLSchema(DATA / "junit-10.xsd")


def hostile() -> list[Check]:
    return [Check("parent", name, Outcome.CONTRADICTED, f"not {name}") for name in HOSTILE]


@pytest.mark.parametrize("checks", [CHECKS, hostile(), []], ids=["plain", "hostile", "none"])
def test_sarif_is_valid_and_another_program_reads_it(checks: list[Check]) -> None:
    places = {check.model: f"/data/{place}/README.md" for place, check in enumerate(checks)}
    document = json.loads(json.dumps(as_sarif(checks, places, "1.0")))
    jsonschema.Draft4Validator(SARIF_SCHEMA).validate(document)
    read = Sarif.model_validate(document)
    results = read.runs[0].results or []
    assert [result.rule_id for result in results] == [check.rule for check in checks]
    rules = [rule["id"] for rule in document["runs"][0]["tool"]["driver"]["rules"]]
    for result in document["runs"][0]["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["kind"] == "fail" or result["level"] == "none", "section 3.27.10"
        assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}, "code scanning asks for a line"


def test_sarif_points_to_files_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"sub/b": str(tmp_path / "sub b" / "model.safetensors"), "org/a": "/elsewhere/x"}
    results = as_sarif(CHECKS, places, "1.0")["runs"][0]["results"]
    uris = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]
    assert uris == ["file:///elsewhere/x", "file:///elsewhere/x", "sub%20b/model.safetensors"]


def test_junit_counts_failures_and_skips(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(as_junit(CHECKS), encoding="utf-8")
    suites = list(JUnitXml.fromfile(str(file)))
    assert [(suite.name, suite.tests, suite.failures, suite.skipped) for suite in suites] == [
        ("org/a", 2, 1, 1),
        ("sub/b", 1, 0, 0),
    ]
    results = [type(case.result[0]) for case in suites[0]]
    assert results == [Failure, Skipped]


@pytest.mark.parametrize("checks", [CHECKS, hostile(), []], ids=["plain", "hostile", "none"])
def test_junit_is_what_jenkins_reads(checks: list[Check]) -> None:
    JUNIT_SCHEMA.validate(as_junit(checks))


def test_junit_stays_xml_whatever_a_name_holds(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(as_junit(hostile()), encoding="utf-8")
    names = [suite.name for suite in JUnitXml.fromfile(str(file))]
    assert len(names) == len(HOSTILE) and names[0] == HOSTILE[0]


def test_texts_for_people_hide_nothing_and_turn_no_direction() -> None:
    sarif = as_sarif(hostile(), {}, "1")
    texts = [result["message"]["text"] for result in sarif["runs"][0]["results"]]
    assert all(text.isprintable() for text in (*texts, *as_junit(hostile()).splitlines()))
    assert texts[2] == r"org/\u202egnp.exe\u2066\u200f: not org/\u202egnp.exe\u2066\u200f"


def test_text_and_json_say_the_same() -> None:
    document = as_json(CHECKS)
    assert document["outcome"] == "contradicted" and document["exit_code"] == 5
    lines = as_text(CHECKS)
    assert lines[-1] == (Outcome.CONTRADICTED, "contradicted: 1 contradicted, 1 cannot tell, 1 hold")
    assert all(row["model"] in line for row, (_, line) in zip(document["checks"], lines, strict=False))
