"""From what a person types to a model of the graph: a repository's name, an identity, or a path on this disk."""

from __future__ import annotations

from collections.abc import Iterator

from lineage.graphdb.schema import LOCAL, Model, NoSuchModel, home_path, local_id
from lineage.graphdb.schema.rows import name_key, short_key
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.pipelines import main_part

PATH_STARTS = ("./", "../", "/", "~")
FILE_ENDINGS = (
    ".safetensors",
    ".gguf",
    ".onnx",
    ".pt",
    ".pth",
    ".pth.tar",
    ".jit",
    ".torchscript",
    ".ckpt",
    ".bin",
    ".zip",
    ".tar",
)
CANDIDATES = 200  # names looked at when one is not found
SUGGESTIONS = 3


def find(store: GraphReader, text: str) -> Model | None:
    """The model of a name (letter case ignored, former names too), an identity, `name@revision`, a path that exists, or the end of
    the path of one model on disk. Of a pipeline, its main part.

    Raises:
        NoSuchModel: several models on disk may be meant.
    """
    model = next((model for key in keys(text) if (model := store.model(key)) is not None), None)
    if model is not None and (model.path is None or name_key(text) == name_key(model.repo_id)):
        return main_part(store, model) or model
    meant = ending_in(store, text)
    return store.model(meant) if meant is not None else model


def keys(text: str) -> Iterator[str]:
    """The names and identities that a text may mean, the likeliest first."""
    path = home_path(text)
    if text.startswith(PATH_STARTS) or text in (".", ".."):
        yield local_id(path)
        return
    yield text
    if "@" in text:
        yield text.partition("@")[0]
    if path.exists():
        yield local_id(path)


def resolve(store: GraphReader, text: str) -> Model:
    """The same, but a model there must be.

    Raises:
        NoSuchModel: with names that are close, or with the models on disk that a text may mean.
    """
    model = find(store, text)
    if model is not None:
        return model
    close = close_names(store, text)
    if close:
        raise NoSuchModel(f"the graph knows no model {text!r}", f"did you mean {' or '.join(close)}?")
    raise NoSuchModel(
        f"the graph knows no model {text!r}", "`lineage who-is-parent` also looks at models that were never crawled"
    )


def ending_in(store: GraphReader, text: str) -> str | None:
    """Identity of the model on disk whose path ends with some parts, with or without the ending of the file.

    Raises:
        NoSuchModel: there are several.
    """
    if any(key.startswith(LOCAL) for key in keys(text)):  # a path that is there means what lies there
        return None
    wanted = f"/{text.strip('/')}"
    last_parts = [short_key(wanted) + ending for ending in ("", *FILE_ENDINGS)]
    ends = tuple(wanted + ending for ending in ("", *FILE_ENDINGS))
    rows = [
        row for row in store.read(load("paths_ending").text, {"last_parts": last_parts}) if row["path"].endswith(ends)
    ]
    if len(rows) > 1:
        named = " or ".join(row["path"] for row in rows[:SUGGESTIONS]) + (" …" if len(rows) > SUGGESTIONS else "")
        raise NoSuchModel(f"{text!r} may be {len(rows)} models of the graph", f"name one of them: {named}")
    return rows[0]["hub_id"] if rows else None


def close_names(store: GraphReader, text: str) -> list[str]:
    """Names in the graph that are much like a text, the most similar first."""
    from difflib import SequenceMatcher

    wanted, short = name_key(text), short_key(text)
    params = {
        "name_prefix": wanted[: max(3, len(wanted) // 2)],
        "short_prefix": short[: max(3, len(short) // 2)],
        "limit": CANDIDATES,
    }
    names = {row["repo_id"] for row in store.read(load("close_names").text, params)}

    def likeness(name: str) -> float:
        key = name.lower()
        whole = SequenceMatcher(None, wanted, key).ratio()
        return max(whole, 0.95 * SequenceMatcher(None, short, short_key(key)).ratio())

    ranked = sorted(((likeness(name), name) for name in names), key=lambda pair: (-pair[0], pair[1]))
    return [name for score, name in ranked if score > 0.6][:SUGGESTIONS]
