"""Licence policies: what they deny, what they allow, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage.pages.members import Member
from lineage.pages.sheet import Licence
from lineage.verify.checks import ModelChecked, Outcome, overall
from lineage.verify.policy import BadPolicy, check_licences, policy_of, read_policy

SUBJECT = ModelChecked(Member("m", "org/m"), facts={"m": Member("m", "org/m"), "a": Member("a", "org/a")})


def outcome(policy: dict[str, object], own: str | None, above: str | None, verdict: str = "fits") -> Outcome:
    chain = [Licence("m", 0, own, "own", ""), Licence("a", 1, above, verdict, "because")]
    return overall(check_licences(SUBJECT, chain, policy_of(policy, "test")))


def test_only_what_is_allowed_may_occur() -> None:
    assert outcome({"allow": ["mit", "apache-*"]}, "MIT", "apache-2.0") is Outcome.HOLDS
    assert outcome({"allow": ["mit"]}, "mit", "apache-2.0") is Outcome.CONTRADICTED


def test_what_is_denied_may_not() -> None:
    assert outcome({"deny": ["cc-by-nc-*"]}, "mit", "cc-by-nc-4.0") is Outcome.CONTRADICTED
    assert outcome({"deny-classes": ["non-commercial"]}, "mit", "cc-by-nc-4.0") is Outcome.CONTRADICTED
    assert outcome({"deny-classes": ["non-commercial"]}, "mit", "mit") is Outcome.HOLDS


def test_conflicts_are_denied_unless_they_are_allowed() -> None:
    assert outcome({}, "mit", "llama3", "conflict") is Outcome.CONTRADICTED
    assert outcome({"conflicts": "allow"}, "mit", "llama3", "conflict") is Outcome.HOLDS


def test_a_licence_that_is_not_stated() -> None:
    assert outcome({}, None, "mit") is Outcome.CANNOT_TELL
    assert outcome({"unknown": "deny"}, "mit", None) is Outcome.CONTRADICTED
    assert outcome({"unknown": "allow"}, "mit", None) is Outcome.HOLDS


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "allow: mit",
        "alow: [mit]",
        "conflicts: maybe",
        "deny-classes: [evil]",
        "a: [",
        "\x00",
        "allow: [1]",
        "&a [*a, *a]",
        "!!python/object:os.system x",
    ],
)
def test_a_bad_policy_is_one_line_and_exit_code_2(tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(BadPolicy) as error:
        read_policy(file)
    assert error.value.exit_code == 2 and "\n" not in error.value.message


def test_no_policy_and_a_huge_one(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match="cannot be read"):
        read_policy(tmp_path / "none.yaml")
    (tmp_path / "huge.yaml").write_text("#" * 300_000)
    with pytest.raises(BadPolicy, match="larger"):
        read_policy(tmp_path / "huge.yaml")
