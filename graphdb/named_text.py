"""Sentences about models that outlive renames: kept with identities in the place of names, filled with the names of the day.

A reason that detection gives names models. In the graph `{model:IDENTITY}` stands in the place of each name; what shows the
sentence puts in the name that the model has then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_MENTION = re.compile(r"\{model:([^{}\s]{1,200})\}")
_NAME_CHARACTERS = r"[\w/.\-]"


def with_identities(text: str, names: Mapping[str, str]) -> str:
    """The sentence with `{model:IDENTITY}` for each name in it.

    Args:
        names: identity -> name, of the models that the sentence may be about.
    """
    by_name = {name: identity for identity, name in names.items() if name}
    if not by_name:
        return text
    longest_first = sorted(by_name, key=len, reverse=True)
    one = re.compile(
        rf"(?<!{_NAME_CHARACTERS})({'|'.join(map(re.escape, longest_first))})(?!{_NAME_CHARACTERS.replace('.', '')})"
    )
    return one.sub(lambda found: f"{{model:{by_name[found[1]]}}}", text)


def identities_in(text: str) -> list[str]:
    """Identities that a kept sentence mentions, in order."""
    return list(dict.fromkeys(_MENTION.findall(text)))


def with_names(text: str, name_of: Callable[[str], str | None]) -> str:
    """The sentence for people. name_of: identity -> name; a model that it does not know is called by its identity."""
    return _MENTION.sub(lambda found: name_of(found[1]) or found[1], text)
