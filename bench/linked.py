"""How many children were linked to what they come from, as the benches of relatives count them."""

from __future__ import annotations

from dataclasses import dataclass, field

from lineage.detect.decision import Decision


@dataclass(slots=True)
class LinkCounts:
    """Children; right: their parent is asserted; linked: named at least; wrong: another model is asserted; missed: names of the others."""

    children: int = 0
    right: int = 0
    linked: int = 0
    wrong: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, decision: Decision, parent: str, missed: str) -> None:
        """Counts a child. missed: what it is called where it is not linked."""
        told = {decision.parent, *(part.parent for part in decision.other_parts)}
        linked = parent in decision.named | told
        self.children += 1
        self.right += parent in told
        self.linked += linked
        self.wrong += decision.parent not in (None, parent)
        if not linked:
            self.missed.append(missed)

    def unread(self, missed: str) -> None:
        """Counts a child about which nothing was decided."""
        self.children += 1
        self.missed.append(f"{missed} (not read)")
