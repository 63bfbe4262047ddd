"""Why a model has its answer, as the graph keeps it: a template's key and what fills it, or a sentence of an earlier version.

Models are kept by identity, so that renames do not matter: in the values of a template, or as `{model:IDENTITY}` in a sentence. What
shows the reason puts in the names that the models have then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MENTION = re.compile(r"\{model:([^{}\s]{1,200})\}")


@dataclass(frozen=True, slots=True)
class KeptReason:
    """
    Attributes:
        key: of a template; a sentence of an earlier version where `values` is None.
        names: identity -> name, of the models in it that the graph knows.
    """

    key: str
    values: Mapping[str, Any] | None
    names: Mapping[str, str]


def kept_reason(key: str | None, values: str | None, names: Mapping[str, str]) -> KeptReason | None:
    """
    Args:
        key, values: `answer_reason` and `answer_reason_values` of a model.
        names: identity -> name of the models that it mentions, as far as the graph knows them.
    """
    if not key:
        return None
    filled = json.loads(values) if values else None
    return KeptReason(key, filled, {model: names[model] for model in mentioned(key, values) if model in names})


def mentioned(key: str | None, values: str | None) -> list[str]:
    """Identities of the models that a reason names."""
    if not key:
        return []
    return list(models_in(json.loads(values))) if values else identities_in(key)


def models_in(values: Mapping[str, Any]) -> Iterator[str]:
    """Identities in what fills a template and the templates within it."""
    for models in values.get("models", {}).values():
        yield from [models] if isinstance(models, str) else models
    for inner in (*values.get("reasons", {}).values(), *values.get("then", ())):
        yield from models_in(inner)


def identities_in(text: str) -> list[str]:
    """Identities that a sentence mentions, in order."""
    return list(dict.fromkeys(_MENTION.findall(text)))


def with_names(text: str, name_of: Callable[[str], str | None]) -> str:
    """The sentence for people. name_of: identity -> name; a model that it does not know is called by its identity."""
    return _MENTION.sub(lambda found: name_of(found[1]) or found[1], text)
