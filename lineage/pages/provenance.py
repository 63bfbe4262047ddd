"""Where an answer is from: identities, revisions, digests, the method and the run that found it, the program that shows it."""

from __future__ import annotations

import lineage
from lineage.pages.sheet import Sheet


def model_provenance(sheet: Sheet) -> list[tuple[str, str]]:
    """Of one model: its identity, revisions and digests, and by what its answer was decided."""
    member = sheet.member
    rows = [("model", member.name)]
    if member.id != member.name:
        rows.append(("identity", member.id))
    rows += [
        (name, value)
        for name, value in (("revision", member.revision), ("digest of the weights", member.digest))
        if value
    ]
    if member.architecture:
        rows.append(("architecture", member.architecture))
    for edge in sheet.parents:
        if edge.parent_revision:
            rows.append(("revision of the parent", f"{sheet.facts[edge.parent].name} {edge.parent_revision}"))
        if edge.method:
            rows.append(("method", f"{edge.method} {edge.method_version or ''}".strip()))
        if edge.last_verified_at:
            rows.append(("last verified", f"{edge.last_verified_at:%Y-%m-%d %H:%M} UTC"))
        if edge.run_id:
            rows.append(("run", edge.run_id))
    if not sheet.parents and member.answered_at:
        rows.append(("answered", f"{member.answered_at:%Y-%m-%d %H:%M} UTC"))
    return list(dict.fromkeys(rows))


def program_version() -> str:
    """The version of this program."""
    return lineage.__version__
