"""From what a person types to a model of the graph: a repository's name, an identity, or a path on this disk."""

from __future__ import annotations

from collections.abc import Iterator

from lineage.graphdb.records import name_key, short_key
from lineage.graphdb.schema import LOCAL, Model, NoSuchModel, home_path, local_id
from lineage.graphdb.store import Store
from lineage.queries import load

PATH_STARTS = ("./", "../", "/", "~")
FILE_ENDINGS = (".safetensors", ".gguf", ".onnx", ".pt", ".pth", ".bin")
CANDIDATES = 200  # names looked at when one is not found
SUGGESTIONS = 3


def find(store: Store, text: str) -> Model | None:
    """The model of a name (letter case ignored, former names too), an identity, `name@revision`, or a path that exists."""
    return next((model for key in keys(text) if (model := store.model(key)) is not None), None)


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


def resolve(store: Store, text: str) -> Model:
    """The same, but a model there must be; of a model on disk the end of its path is enough.

    Raises:
        NoSuchModel: with names that are close, or with the models on disk that a text may mean.
    """
    model = find(store, text)
    if model is not None and (model.path is None or name_key(text) == name_key(model.repo_id)):
        return model
    meant = ending_in(store, text)
    if len(meant) > 1 and not any(key.startswith(LOCAL) for key in keys(text)):
        named = " or ".join(path for path, _ in meant[:SUGGESTIONS]) + (" …" if len(meant) > SUGGESTIONS else "")
        raise NoSuchModel(f"{text!r} may be {len(meant)} models of the graph", f"name one of them: {named}")
    model = model or next((store.model(hub_id) for _, hub_id in meant), None)
    if model is not None:
        return model
    close = close_names(store, text)
    if close:
        raise NoSuchModel(f"the graph knows no model {text!r}", f"did you mean {' or '.join(close)}?")
    raise NoSuchModel(
        f"the graph knows no model {text!r}", "`lineage who-is-parent` also looks at models that were never crawled"
    )


def ending_in(store: Store, text: str) -> list[tuple[str, str]]:
    """Path and identity of the models on disk whose path ends with some parts, with or without the ending of the file."""
    wanted = f"/{text.strip('/')}"
    last_parts = [short_key(wanted) + ending for ending in ("", *FILE_ENDINGS)]
    rows = store.read(load("paths_ending").text, {"last_parts": last_parts})
    ends = tuple(wanted + ending for ending in ("", *FILE_ENDINGS))
    return [(row["path"], row["hub_id"]) for row in rows if row["path"].endswith(ends)]


def close_names(store: Store, text: str) -> list[str]:
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
