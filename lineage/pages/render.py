"""The templates, with what they may call: one environment for files and for the server."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from lineage.graphdb.schema import counted
from lineage.pages import words
from lineage.pages.evidence_terms import terms
from lineage.pages.layers import layer_picture
from lineage.pages.tree_svg import pixels, tree_svg

PLACE = "lineage.pages"


@cache
def environment() -> jinja2.Environment:
    """Escapes everything; a name that a template does not know is a bug and raises."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(PLACE, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "visible": words.visible,
        "percent": words.percent,
        "when": words.when,
        "number": words.number,
        "relation": words.relation_word,
        "phrase": words.relation_phrase,
        "outcome": words.outcome_word,
        "evidence_word": words.evidence_word,
        "split_name": words.split_name,
        "shortened": words.shortened,
        "terms": terms,
        "layer_picture": layer_picture,
        "slug": lambda text: str(text).lower().replace("_", "-").replace(" ", "-"),
        "size": lambda value: f"{value:,}",
        "duration": words.duration,
        "pixels": pixels,
    }
    made.globals |= {"count": counted, "tree_svg": tree_svg}
    return made


def render(template: str, **values: Any) -> str:
    """The text of a page."""
    return environment().get_template(template).render(**values)


@cache
def asset(name: str) -> bytes:
    """A file that belongs to the pages: `style.css`, `app.js`, `icon.svg`."""
    return (files(PLACE) / "templates" / name).read_bytes()


def stylesheet() -> str:
    """The one style sheet, to be put into a file."""
    return asset("style.css").decode()


def style_hash() -> str:
    """What a content security policy names to allow exactly this style sheet and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(stylesheet().encode()).digest()).decode()


def dumps(value: Any) -> str:
    """JSON of a page's data, moments as ISO text."""
    return json.dumps(value, ensure_ascii=False, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")
