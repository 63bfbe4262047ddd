"""The addresses of the pages: every page has one that can be shared, and `format=json` makes its JSON twin of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, urlencode

from lineage.pages.members import EdgeFacts, Member
from lineage.pages.picture import Links

STEP = 100  # children that one more click shows


def query(pairs: Iterable[tuple[str, object]]) -> str:
    """A query string of the pairs that have a value."""
    text = urlencode([(name, str(value)) for name, value in pairs if value not in (None, "", False)])
    return f"?{text}" if text else ""


def model_address(member: Member, page: str = "model") -> str:
    """The page of a model, by its name; by its identity where the name is a path or no name."""
    plain = (
        bool(member.name)
        and not member.name.startswith(("/", ".", "~"))
        and "//" not in member.name
        and member.name.isprintable()
    )
    return f"/{page}/{quote(member.name if plain else member.id, safe='/')}"


def edge_address(child: str, parent: str) -> str:
    return f"/edge?child={_quoted(child)}&parent={_quoted(parent)}"


def _quoted(identity: str) -> str:
    """Most identities need no quoting, and a page has a hundred of them."""
    return identity if identity.isascii() and identity.isalnum() else quote_plus(identity)


@dataclass(frozen=True, slots=True)
class Addresses(Links):
    """Where clicks on a page about one model's family lead.

    Attributes:
        page: address of the page without its query; kept: pairs of its query that stay (the moment, the least probability).
        opened, more: what is unfolded now.
    """

    page: str = "/"
    kept: Sequence[tuple[str, str]] = ()
    opened: frozenset[str] = frozenset()
    more: Mapping[str, int] = field(default_factory=dict)

    def model(self, member: Member) -> str | None:
        return model_address(member)

    def edge(self, edge: EdgeFacts) -> str | None:
        return edge_address(edge.child, edge.parent)

    def unfold(self, member: Member, hidden: int) -> str | None:
        """The same page with more children of one model."""
        more = {**self.more, member.id: self.more.get(member.id, 12) + STEP}
        return self.page + query([*self.kept, *self._state(self.opened, more)])

    def open(self, member: Member) -> str:
        """The same page with the children of one model."""
        return self.page + query([*self.kept, *self._state(self.opened | {member.id}, self.more)])

    def _state(self, opened: Iterable[str], more: Mapping[str, int]) -> list[tuple[str, str]]:
        return [("open", i) for i in sorted(opened)] + [("more", f"{n}.{i}") for i, n in sorted(more.items())]


def read_more(values: Iterable[str], at_most: int) -> dict[str, int]:
    """`more=112.ID` of a query; what cannot be read is left out."""
    found = {}
    for value in values:
        number, dot, model = value.partition(".")
        if dot and number.isdigit() and len(number) < 6 and model:
            found[model] = min(int(number), at_most)
    return found
