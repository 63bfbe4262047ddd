"""The licence policy of `lineage verify --licence-policy FILE`: which licences may lie along the chain of a model.

# licences.yaml; every entry is optional
allow: [apache-2.0, mit, llama3]       # nothing else may occur; names as the Hub writes them, `*` matches any text
deny: [cc-by-nc-*]                     # these may not occur
deny-classes: [non-commercial, no-derivatives]   # see `lineage licences`
conflicts: deny                        # or `allow`: a licence that contradicts one above it [default: deny]
unknown: deny                          # or `allow`: a model that states none [default: cannot tell]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lineage.graphdb.schema import Failure
from lineage.pages.sheet import Licence
from lineage.pages.words import visible
from lineage.queries.licences import CLASSES, licence_class
from lineage.verify.checks import Check, ModelChecked, Outcome

LARGEST_BYTES = 256 * 1024
KNOWN_CLASSES = (*(name for name, _ in CLASSES), "unknown")


class BadPolicy(Failure):
    """A policy that cannot be used."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """See the module's first lines. unknown: `deny`, `allow`, or None for cannot tell."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    deny_classes: tuple[str, ...] = ()
    conflicts_denied: bool = True
    unknown: str | None = None


def read_policy(file: Path) -> Policy:
    """
    Raises:
        BadPolicy: no such file, not YAML, or an entry that is not known.
    """
    import yaml

    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_BYTES + 1)
        if len(text) > LARGEST_BYTES:
            raise BadPolicy(f"{file} is larger than a licence policy can be", "see `lineage verify --help`")
        content = yaml.safe_load(text.decode("utf-8"))
    except OSError as error:
        raise BadPolicy(f"{file} cannot be read: {error.strerror}", "name a YAML file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadPolicy(f"{file} is not YAML: {str(error).splitlines()[0]}", "see docs/verify.md") from None
    if not isinstance(content, dict):
        raise BadPolicy(f"{file} holds no entries of a licence policy", "see docs/verify.md")
    return policy_of(content, str(file))


def policy_of(content: dict[Any, Any], where: str) -> Policy:
    """
    Raises:
        BadPolicy: an entry that is not known, or has a value that it does not take.
    """
    known = ("allow", "deny", "deny-classes", "conflicts", "unknown")
    strange = [str(name) for name in content if name not in known]
    if strange:
        raise BadPolicy(f"{where}: unknown entry {visible(strange[0])!r}", f"known are {', '.join(known)}")
    classes = _names(content, "deny-classes", where) or ()
    wrong = [name for name in classes if name not in KNOWN_CLASSES]
    if wrong:
        raise BadPolicy(f"{where}: unknown class {visible(wrong[0])!r}", f"known are {', '.join(KNOWN_CLASSES)}")
    for name in ("conflicts", "unknown"):
        if content.get(name) not in (None, "deny", "allow"):
            raise BadPolicy(
                f"{where}: {name} is `deny` or `allow`, not {visible(content[name])!r}", "see docs/verify.md"
            )
    return Policy(
        _names(content, "allow", where),
        _names(content, "deny", where) or (),
        classes,
        content.get("conflicts") != "allow",
        content.get("unknown"),
    )


def _names(content: dict[Any, Any], name: str, where: str) -> tuple[str, ...] | None:
    value = content.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadPolicy(f"{where}: {name} is a list of names", "see docs/verify.md")
    return tuple(item.strip().lower() for item in value)


def check_licences(subject: ModelChecked, chain: Sequence[Licence], policy: Policy) -> list[Check]:
    """A finding for each licence that the policy does not let pass; a passed one without any."""
    found: list[Check] = []
    for link in chain:
        name = subject.called(link.id)
        outcome, message = _judge(link, name, policy)
        if outcome is not Outcome.HOLDS:
            details = {"licence": link.license, "of": name, "generations": link.depth}
            found.append(Check("licence", subject.name, outcome, message, details))
    if found:
        return found
    names = ", ".join(dict.fromkeys(visible(link.license or "none stated") for link in chain))
    return [Check("licence", subject.name, Outcome.HOLDS, f"the licences along the chain meet the policy: {names}")]


def _judge(link: Licence, name: str, policy: Policy) -> tuple[Outcome, str]:
    text, kind = (link.license or "").strip().lower(), licence_class(link.license)
    shown = visible(link.license or "no licence")
    if any(fnmatchcase(text, pattern) for pattern in policy.deny):
        return Outcome.CONTRADICTED, f"{name} has the licence {shown}, which the policy denies"
    if kind in policy.deny_classes and text:
        return Outcome.CONTRADICTED, f"{name} has the licence {shown}, which is {kind}: the policy denies that"
    if not text:
        if policy.unknown == "allow":
            return Outcome.HOLDS, ""
        outcome = Outcome.CONTRADICTED if policy.unknown == "deny" else Outcome.CANNOT_TELL
        return outcome, f"{name} states no licence"
    if policy.allow is not None and not any(fnmatchcase(text, pattern) for pattern in policy.allow):
        return Outcome.CONTRADICTED, f"{name} has the licence {shown}, which the policy does not allow"
    if link.outcome == "conflict" and policy.conflicts_denied:
        return Outcome.CONTRADICTED, f"licence of {name}: {visible(link.reason)}"
    return Outcome.HOLDS, ""
