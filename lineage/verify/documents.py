"""The findings of `lineage verify` for programs: JSON, SARIF 2.1.0 (OASIS standard, code scanning) and JUnit XML (test reports)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from lineage.graphdb.schema import printable, real_path
from lineage.verify.checks import Check, Outcome, overall

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULES = {
    "declared": ("CardContradicted", "The model card names a base that the weights contradict."),
    "parent": ("UnexpectedParent", "The weights come from another model than the one that was expected."),
    "quantized-from": ("NotAQuantizedCopy", "The weights are not the expected model's weights, quantized."),
    "licence": ("LicencePolicy", "A licence along the chain of the model is not allowed by the policy."),
    "origin": ("UnknownOrigin", "The origin of the model cannot be determined from its weights."),
}
LEVELS = {Outcome.CONTRADICTED: "error", Outcome.CANNOT_TELL: "warning", Outcome.HOLDS: "none"}
KINDS = {Outcome.CONTRADICTED: "fail", Outcome.CANNOT_TELL: "open", Outcome.HOLDS: "pass"}
WHOLE_FILE = {"startLine": 1}  # code scanning shows no finding without a line
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_json(checks: Sequence[Check], outcome: Outcome | None = None) -> dict[str, Any]:
    """The contract of `lineage verify --json`; keys are only ever added. outcome: of all; that of the worst if None."""
    outcome = overall(checks) if outcome is None else outcome
    return {
        "outcome": str(outcome),
        "exit_code": outcome.exit_code,
        "checks": [
            {
                "rule": check.rule,
                "model": check.model,
                "outcome": str(check.outcome),
                "message": check.message,
                "details": dict(check.details),
            }
            for check in checks
        ],
    }


def as_text(checks: Sequence[Check], outcome: Outcome | None = None) -> list[tuple[Outcome, str]]:
    """A line for each finding, and one for all. outcome: of all; that of the worst if None."""
    of_all = overall(checks) if outcome is None else outcome
    lines = [
        (check.outcome, f"{check.outcome:<12}  {check.rule:<14}  {check.model}: {check.message}") for check in checks
    ]
    counts = [sum(check.outcome is outcome for check in checks) for outcome in reversed(list(Outcome))]
    total = f"{counts[0]} contradicted, {counts[1]} cannot tell, {counts[2]} hold"
    return [*lines, (of_all, f"{of_all}: {total}")]


def as_sarif(checks: Sequence[Check], places: Mapping[str, str], version: str) -> dict[str, Any]:
    """
    Args:
        places: model -> file or folder that a finding points to, relative to the working folder where it lies below.
    """
    used = [name for name in RULES if any(check.rule == name for check in checks)]
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "lineage",
                        "version": version,
                        "rules": [
                            {
                                "id": name,
                                "name": RULES[name][0],
                                "shortDescription": {"text": RULES[name][1]},
                                "defaultConfiguration": {"level": "error"},
                            }
                            for name in used
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(check, used.index(check.rule), places) for check in checks],
            }
        ],
    }


def _result(check: Check, rule: int, places: Mapping[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": check.rule,
        "ruleIndex": rule,
        "kind": KINDS[check.outcome],
        "level": LEVELS[check.outcome] if check.outcome is Outcome.CONTRADICTED else "none",
        "message": {"text": printable(f"{check.model}: {check.message}")},
        "partialFingerprints": {"lineage/v1": f"{check.rule}:{check.model}"},
        "properties": {"outcome": str(check.outcome), **check.details},
    }
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": check.model, "kind": "module"}]}
    place = places.get(check.model)
    if place is not None:
        location["physicalLocation"] = {"artifactLocation": {"uri": _uri(place)}, "region": WHOLE_FILE}
    result["locations"] = [location]
    return result


def _uri(place: str) -> str:
    """A path as SARIF has it: relative and with slashes where it lies below the working folder, else `file://`."""
    path = Path(place)
    try:
        return quote(real_path(path).relative_to(Path.cwd()).as_posix())
    except ValueError:
        return real_path(path).as_uri()


def as_junit(checks: Sequence[Check]) -> str:
    """A test suite a model, a test case a check: failed means contradicted, skipped means undecided."""
    suites = ElementTree.Element("testsuites", name="lineage verify", tests=str(len(checks)))
    failures = sum(check.outcome is Outcome.CONTRADICTED for check in checks)
    suites.set("failures", str(failures))
    suites.set("errors", "0")
    by_model: dict[str, list[Check]] = {}
    for check in checks:
        by_model.setdefault(check.model, []).append(check)
    for model, own in by_model.items():
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=_xml(model),
            tests=str(len(own)),
            failures=str(sum(check.outcome is Outcome.CONTRADICTED for check in own)),
            errors="0",
            skipped=str(sum(check.outcome is Outcome.CANNOT_TELL for check in own)),
        )
        for check in own:
            case = ElementTree.SubElement(suite, "testcase", name=check.rule, classname=_xml(model))
            if check.outcome is Outcome.CONTRADICTED:
                ElementTree.SubElement(case, "failure", message=_xml(check.message), type="contradicted")
            elif check.outcome is Outcome.CANNOT_TELL:
                ElementTree.SubElement(case, "skipped", message=_xml(check.message))
            else:
                ElementTree.SubElement(case, "system-out").text = _xml(check.message)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """A text for people, and without the characters that XML does not allow."""
    return NOT_XML.sub("�", printable(text))
