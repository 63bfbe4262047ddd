"""A repository or a local model -> what it is, what it claims, and where its weights can be read. No weights are read here."""

from __future__ import annotations

import codecs
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from lineage.crawler.budget import BudgetSpent
from lineage.crawler.card import front_matter
from lineage.crawler.claims_in_files import ADAPTER_CONFIG, base_in_adapter_config
from lineage.crawler.folder import LocalModel, NoSuchFolder, named_in, one_local_model, shown_path
from lineage.crawler.formats.interface import Opening, Readable
from lineage.crawler.formats.registry import choose_model, format_of
from lineage.crawler.headers import LOCAL_HEADER_LIMIT_BYTES, SpanT, TensorHeader
from lineage.crawler.hub import FileEntry, Hub
from lineage.crawler.hub_errors import BadToken, GatedRepository, HubDown, HubFailure, Offline, RateLimited
from lineage.crawler.listing import Repository, declarations, declared_license
from lineage.crawler.local_digest import content_hash, local_digest
from lineage.crawler.local_names import names_of
from lineage.crawler.merge_recipe import RECIPE, bases_in_recipe
from lineage.crawler.pipeline_components import adapters_beside, main_part, parts_of
from lineage.crawler.quantized_claims import quantization_of
from lineage.crawler.remote import RemoteFile
from lineage.crawler.repo_names import is_repo_id, repo_and_revision
from lineage.crawler.selection import (
    Choice,
    Layout,
    WeightSet,
    files_by_index,
    is_safetensors,
    missing_reason,
    weights_digest,
)
from lineage.crawler.weights import LocalFile, UnreadableWeights, places_in
from lineage.graphdb.schema import Declaration, Model, NoSuchModel, Status, WeightFacts, home_path, local_id, real_path

logger = logging.getLogger(__name__)

FATAL = (HubDown, BadToken, Offline, RateLimited, BudgetSpent)  # whatever is asked next would fail as well
MAX_WEIGHT_FILES = 2_000
DISABLED = "disabled on the Hub"
MERGEKIT = "mergekit_config"  # source of the claims in a recipe
INDEX_LIMIT_BYTES = 64 * 1024 * 1024
CONFIG_LIMIT_BYTES = 1024 * 1024
LOOKUP_PARALLEL = 8


class NoSuchPart(NoSuchModel):
    """A repository does not hold the model that was asked for by name."""


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model whose weights can be read, or one where `model.reason` says why they cannot.

    Attributes:
        model: without signature; `status` is SKETCHED where the weights are expected to be readable.
        weights: None where there is nothing to be read.
        adapter: its configuration is that of an adapter, whatever its tensors are called.
        of_whole: claims of the repository that it is a part of, which count where it is an adapter.
    """

    model: Model
    declarations: tuple[Declaration, ...]
    weights: Readable | None
    adapter: bool = False
    of_whole: tuple[Declaration, ...] = ()

    @property
    def header(self) -> tuple[TensorHeader, ...]:
        """All tensors of the model; fetched when first asked for.

        Raises:
            UnreadableWeights: nothing to be read. Failure: gated, damaged, unreachable.
        """
        return self._weights().header

    @property
    def claims_in_weights(self) -> tuple[Declaration, ...]:
        """What the headers of its files claim; raises like `header`."""
        bases = self.weights.bases if self.weights is not None else ()
        return tuple(Declaration(self.model.hub_id, *claim) for claim in bases)

    @property
    def quantization_in_weights(self) -> str | None:
        """How its numbers were packed, where only the format knows (ONNX); raises like `header`."""
        return self.weights.quantization if self.weights is not None else None

    def read(self, blocks: list[SpanT]) -> Iterator[tuple[SpanT, bytes]]:
        """Bytes of blocks of values, in the order in which they lie in the files; raises like `header`."""
        return self._weights().read(blocks)

    def _weights(self) -> Readable:
        if self.weights is None:
            raise UnreadableWeights(
                f"nothing can be read in {self.model.repo_id}: {self.model.reason}", "try the model it was made from"
            )
        return self.weights


def open_model(name: str, hub: Hub | Callable[[], Hub]) -> OpenModel:
    """One model, wherever it is.

    Args:
        name: a path that exists (file or folder), or `org/name`, `org/name/part` for one of several models in it, either with
            `@revision` behind it. `org/name` of a pipeline means its main part.
        hub: or a function that makes it, called only if it is needed.
    Raises:
        NoSuchRepository, NoSuchFolder, UnreadableWeights, Offline, ...: see there.
    """
    path = home_path(name)
    if path.exists():
        return locate_local(one_local_model(path))
    source: Hub | None = None
    if "://" in name:  # the address in a browser's bar, of this Hub or of the public one
        source = hub if isinstance(hub, Hub) else hub()
        page = repo_and_revision(name, source.endpoint)
        if page is None:
            raise NoSuchFolder(f"{name} is not the address of a model", "copy the address of the model's page")
        name = f"{page[0]}@{page[1]}" if page[1] else page[0]
    called, _, revision = name.partition("@")
    repo_id, part = _part_in(called.rstrip("/"))
    if not is_repo_id(repo_id) or name.startswith((".", "/", "~")) or is_safetensors(name):
        raise NoSuchFolder(
            f"there is no file or folder {name}, and it is not the name of a repository", "check the path"
        )
    source = source or (hub if isinstance(hub, Hub) else hub())
    repository = source.info(repo_id, revision or None)
    part = part or main_part(repository.files or ())
    if part is not None:
        return locate_part(repository, part, source, LOOKUP_PARALLEL)
    return locate_repository(repository, source, LOOKUP_PARALLEL)


def _part_in(name: str) -> tuple[str, str | None]:
    """`org/name/part` -> the repository and the part."""
    pieces = name.split("/", 2)
    return ("/".join(pieces[:2]), pieces[2]) if len(pieces) == 3 and pieces[2] else (name, None)


def locate_part(repository: Repository, part: str, hub: Hub, parallel: int = 1) -> OpenModel:
    """One of the models that share a repository, such as the `unet` of a pipeline.

    Raises:
        NoSuchPart: unknown part; the message lists the existing ones.
    """
    parts = parts_of(repository.files or ()) or adapters_beside(repository.files or ())
    if part not in parts:
        there = f"its parts are {', '.join(parts)}" if parts else "it is one model"
        raise NoSuchPart(f"{repository.repo_id} has no part {part!r}: {there}", "name one of them")
    inside = replace(repository, hub_id=f"{repository.hub_id}/{part}", files=parts[part], declarations=())
    found = locate_repository(inside, hub, parallel)
    of_whole = claims_of_whole(inside.hub_id, repository.declarations)
    claims = (*found.declarations, *of_whole) if part == main_part(repository.files or ()) else found.declarations
    model = replace(found.model, repo_id=f"{repository.repo_id}/{part}")
    return replace(found, model=model, declarations=tuple(dict.fromkeys(claims)), of_whole=of_whole)


def claims_of_whole(part: str, declarations: Iterable[Declaration]) -> tuple[Declaration, ...]:
    """What a repository says of its base, as claims of a part of it."""
    return tuple(replace(claim, child=part) for claim in declarations)


def locate_repository(repository: Repository, hub: Hub, parallel: int = 1) -> OpenModel:
    """
    Args:
        repository: as listed; asked for again if the listing did not name its commit and files.
        parallel: how many ranged reads may be under way at once.
    Raises:
        HubFailure: what concerns this repository, or one of FATAL.
    """
    if repository.sha is None or repository.files is None:
        repository = hub.info(repository.repo_id)
    if repository.disabled:
        return _nothing(repository, Choice(None, reason=DISABLED))
    if repository.sha is None or repository.files is None:
        return _nothing(repository, Choice(None, reason="the Hub does not say which commit and files it has"))
    form, choice = choose_model(repository.files)
    adapter = choice.adapter
    if adapter:
        claims = (*repository.declarations, *_adapter_claim(repository, choice, hub))
        repository = replace(repository, declarations=claims)
    if RECIPE in (repository.files or ()) and all(claim.relation != "merge" for claim in repository.declarations):
        repository = replace(repository, declarations=(*repository.declarations, *_recipe_claims(repository, hub)))
    if choice.weights is not None and choice.weights.layout is Layout.INDEXED:
        choice = files_by_index(choice.weights, _indexed_files(repository, choice.weights, hub))
    weights = choice.weights
    if weights is None or weights.missing:
        return _nothing(repository, choice if weights is None else Choice(None, reason=missing_reason(weights)))
    files = _remote_files(repository, weights, hub)
    model = replace(
        model_of(repository, Status.SKETCHED),
        weights_digest=weights_digest((file.content_hash for file in files), form.kind),
        quantization=form.quantization(weights.files[0]) or repository.quantization,
    )
    placed = (lambda: _index(repository, weights, hub)) if weights.index else None
    return OpenModel(
        model, repository.declarations, form.open(files, Opening(parallel=parallel, placed=placed)), adapter
    )


def locate_local(
    local: LocalModel, hash_of: Callable[[Path], str] = content_hash, hub_id: str | None = None
) -> OpenModel:
    """
    Args:
        hash_of: sha256 hex of a file; for callers that remember those.
        hub_id: identity to use in place of the path's, where a cached model is known to be one of the Hub.
    Raises:
        UnreadableWeights: a weight file cannot be read.
    """
    identity = hub_id or local_id(local.path)
    card, config = _card(local.folder), _json_file(local.folder / "config.json")
    claims = list(declarations(identity, card, (), config))
    claims += [
        Declaration(identity, base, "merge", MERGEKIT) for base in bases_in_recipe(_text_file(local.folder / RECIPE))
    ]
    base = base_in_adapter_config(_text_file(local.folder / ADAPTER_CONFIG).encode()) if local.adapter else None
    if base:
        claims.append(Declaration(identity, _path_beside(local.folder, base), "adapter", "adapter_config"))
    model = Model(
        hub_id=identity,
        repo_id=local.repo_id or shown_path(real_path(local.path)),
        status=Status.SKETCHED if local.files else Status.ADAPTER if local.adapter else Status.UNREADABLE,
        revision=local.revision,
        weights_digest=local_digest(local, hash_of) if local.files else None,
        reason=local.reason,
        quantization=_packed(local, config),
        path=shown_path(real_path(local.path)),
        aliases=names_of(local),
        last_modified=_changed(local),
        license=declared_license(card, ()),
    )
    form = format_of(local.files[0].name) if local.files else None
    how = Opening(LOCAL_HEADER_LIMIT_BYTES, placed=partial(named_in, local.index) if local.index else None)
    weights = form.open([LocalFile(path) for path in local.files], how) if form else None
    return OpenModel(model, tuple(claims), weights, local.adapter)


def _path_beside(folder: Path, base: str) -> str:
    """A base that is given as a path relative to an adapter's folder, as the whole path where something is there; any other as it is."""
    if not base.startswith(("./", "../", ".\\", "..\\")):
        return base
    try:
        path = real_path(folder / base.replace("\\", "/"))
        return shown_path(path) if path.exists() else base
    except (OSError, ValueError):  # too long; with a NUL in it
        return base


def _packed(local: LocalModel, config: Mapping[str, Any]) -> str | None:
    """How its numbers are packed, as far as names and configuration say."""
    form = format_of(local.files[0].name) if local.files else None
    return (form.quantization(local.files[0].name) or quantization_of(config)) if form else None


def _remote_files(repository: Repository, weights: WeightSet, hub: Hub) -> list[RemoteFile]:
    """The set's files. One file tells its hash when it is resolved, which is needed anyway; several cost one look at the tree.
    Gated files cannot be resolved, but their hashes are public in the tree."""
    assert repository.sha is not None
    names = weights.files
    if len(names) > MAX_WEIGHT_FILES:
        raise UnreadableWeights(
            f"{repository.repo_id} has {len(names)} weight files", "such a model cannot be compared"
        )
    entries: dict[str, FileEntry] = {}
    if len(names) > 1 or repository.gated:
        found = hub.tree(repository.repo_id, repository.sha, weights.folder, set(names))
        entries = {entry.path: entry for entry in found}
        absent = [name for name in names if name not in entries]
        if absent:
            raise UnreadableWeights(f"{repository.repo_id} lacks {absent[0]}, which belongs to its weights")
    return [RemoteFile(hub, repository.repo_id, repository.sha, name, entries.get(name)) for name in names]


def _index(repository: Repository, weights: WeightSet, hub: Hub) -> dict[str, str]:
    """Tensor -> file beside the index of a set."""
    assert repository.sha is not None and weights.index is not None
    index = hub.small_file(repository.repo_id, repository.sha, weights.index, INDEX_LIMIT_BYTES)
    return places_in(index, f"{repository.repo_id}/{weights.index}")


def _indexed_files(repository: Repository, weights: WeightSet, hub: Hub) -> set[str]:
    """Names of the files of an INDEXED set; all beside the index where that is gated, whose hashes tell whether they are known."""
    try:
        return set(_index(repository, weights, hub).values())
    except GatedRepository:
        if not weights.beside:
            raise
        return {path.rpartition("/")[2] for path in weights.beside}


def model_of(repository: Repository, status: Status, reason: str | None = None) -> Model:
    """What the listing says of a repository, without anything of its weights."""
    return Model(
        hub_id=repository.hub_id,
        repo_id=repository.repo_id,
        status=status,
        revision=repository.sha,
        reason=reason,
        created_at=repository.created_at,
        last_modified=repository.last_modified,
        downloads=repository.downloads,
        license=repository.license,
        library=repository.library,
    )


def as_facts_say(model: Model, facts: WeightFacts) -> Model:
    """A model with what its weight files say: every way of reading a model goes by this."""
    if facts.low_rank:
        return replace(model, status=Status.ADAPTER, reason=None)
    return replace(model, signature=facts.signature, quantization=_packing(model.quantization, facts.quantization))


def _packing(said: str | None, shown: str | None) -> str | None:
    """How numbers are packed, from what a name or configuration says and what the tensors show: whichever says more of it."""
    if said is None or shown is None:
        return said or shown
    same, says_bits = said.split()[0] == shown.split()[0], any(letter.isdigit() for letter in said)
    if same and (not says_bits or said == said.split()[0]):  # `exl2` has a digit, and says nothing of bits
        return shown
    return said if says_bits else f"{said} {shown}"


def _nothing(repository: Repository, choice: Choice) -> OpenModel:
    status = Status.ADAPTER if choice.adapter else Status.UNREADABLE
    return OpenModel(model_of(repository, status, choice.reason), repository.declarations, None)


def _adapter_claim(repository: Repository, choice: Choice, hub: Hub) -> Iterator[Declaration]:
    """What an adapter's own configuration, written by the program that trained it, says it belongs to."""
    folder = choice.weights.folder if choice.weights else ""
    path = f"{folder}/{ADAPTER_CONFIG}".lstrip("/")
    if repository.sha is None or path not in (repository.files or ()):
        return
    try:
        base = base_in_adapter_config(hub.small_file(repository.repo_id, repository.sha, path))
    except FATAL:
        raise
    except HubFailure as error:  # gated, gone since it was listed, too large: the card's claim stays
        logger.info("%s: %s is not read: %s", repository.repo_id, path, error.message)
        return
    if base:
        yield Declaration(repository.hub_id, base, "adapter", "adapter_config")


def _recipe_claims(repository: Repository, hub: Hub) -> Iterator[Declaration]:
    """What the recipe of a merge names, where no card does."""
    assert repository.sha is not None
    try:
        text = hub.small_file(repository.repo_id, repository.sha, RECIPE)
    except FATAL:
        raise
    except HubFailure as error:
        logger.info("%s: %s is not read: %s", repository.repo_id, RECIPE, error.message)
        return
    for base in bases_in_recipe(text.decode("utf-8", errors="replace")):
        yield Declaration(repository.hub_id, base, "merge", MERGEKIT)


def _card(folder: Path) -> Mapping[str, Any]:
    """Front matter of a README."""
    return front_matter(_text_file(folder / "README.md"))


def _json_file(path: Path) -> Mapping[str, Any]:
    return _object(_text_file(path).encode())


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _text_file(path: Path) -> str:
    """A small text file; empty where it cannot be read."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            text = file.read(CONFIG_LIMIT_BYTES)
        wide = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as editors on Windows save it
        return text.decode("utf-16" if wide else "utf-8", errors="replace")
    except OSError:
        return ""


def _changed(local: LocalModel) -> datetime | None:
    try:
        return max((datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in local.files), default=None)
    except OSError:
        return None
