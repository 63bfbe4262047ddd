"""What a report says, before it is a file: parts with bodies, the evidence of each edge, and where all of it is from."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from lineage.pages.layers import LayerRow
from lineage.pages.members import EdgeFacts, Member
from lineage.pages.provenance import program_version

if TYPE_CHECKING:
    from lineage.pages.scan_source import ScannedFamilies
    from lineage.pages.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Report:
    """
    Attributes:
        sheets: a part for each model that was asked about; folder: the scan, where a folder was.
        edges: every edge that is drawn, with its evidence; layers: (child, parent) -> the change layer by layer.
        why_no_layers: said where an edge has none.
    """

    title: str
    made_at: datetime
    command: str
    source: str
    sheets: tuple[Sheet, ...] = ()
    folder: ScannedFamilies | None = None
    edges: tuple[EdgeFacts, ...] = ()
    layers: Mapping[tuple[str, str], Sequence[LayerRow]] = field(default_factory=dict)
    why_no_layers: str = "The samples of the two models are missing."

    @property
    def facts(self) -> Mapping[str, Member]:
        found: dict[str, Member] = {}
        for sheet in self.sheets:
            found |= sheet.facts
        if self.folder is not None:
            found |= self.folder.members
        return found

    def provenance(self) -> list[tuple[str, str]]:
        """Where the answer is from."""
        methods = sorted({f"{edge.method} {edge.method_version}" for edge in self.edges if edge.method})
        rows = [
            ("made at", f"{self.made_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("made by", f"lineage {program_version()}"),
            ("command", self.command),
            ("read from", self.source),
        ]
        return rows + ([("method", ", ".join(methods))] if methods else [])


def command_line() -> str:
    """The command as it was typed, without the place of the program."""
    return shlex.join(["lineage", *sys.argv[1:]])
