"""The family of a model in Newick, the format of tree viewers: one tree a line, one line a root.

Every model is a labelled node, also those with children. A model with several parents hangs under the one that `lineage tree` shows
it under. The length of a branch is one generation. Format: https://phylipweb.github.io/phylip/newicktree.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from lineage.queries.walk import Relative


def newick(found: Sequence[Relative]) -> str:
    """The trees of a family, as `lineage.queries.family.tree` gives it."""
    children: dict[str, list[Relative]] = defaultdict(list)
    for relative in found:
        if relative.via is not None:
            children[relative.via].append(relative)
    return "".join(f"{_subtree(root, children)};\n" for root in found if root.via is None)


def _subtree(root: Relative, children: dict[str, list[Relative]]) -> str:
    """Without recursion: families can be deeper than Python's stack."""
    parts: list[str] = []
    stack: list[str | Relative] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
            continue
        label = _label(item.repo_id) + (":1" if item.via is not None else "")
        below = children.get(item.hub_id, [])
        stack.append(label)
        if below:
            stack.append(")")
            for position, child in enumerate(reversed(below)):
                if position:
                    stack.append(",")
                stack.append(child)
            stack.append("(")
    return "".join(parts)


def _label(name: str) -> str:
    return "'" + name.replace("'", "''").replace("\n", " ") + "'"
