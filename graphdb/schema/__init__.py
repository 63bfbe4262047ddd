"""What crosses the borders between the packages and what the graph holds: models, claims, edges, runs.

Identity of a model is `hub_id`: the Hub's `_id` (names move, ids do not), or `local:<hex>` for a folder or file on disk.
An edge always runs from the child to the parent.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from math import floor
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 4
_UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)
_USER = re.compile(r"\A[^/@]*:(?!\d+(?:/|\Z))[^@]*@")  # of an address, whatever its password holds
_SECRET = re.compile(r"(?<=[?&])[^=&]*(?:pass|pwd|token|secret|key|credential|signature)[^=&]*=[^&]*", re.I)
MAIN_PARTS = ("unet", "transformer")  # of a diffusion pipeline: what its card and a question about it are about
SEVERAL_MODELS = "several models, each of its own: "  # how the reason of a repository begins that has parts
LOCAL = "local:"  # how the identity of a model on disk begins


class Failure(Exception):
    """A failure that the person at the terminal can do something about.

    Args:
        message: one line, says what is wrong and with which model, file or address.
        try_next: one line, says what to try.
    """

    exit_code = 1

    def __init__(self, message: str, try_next: str | None = None):
        super().__init__(message)
        self.message = message
        self.try_next = try_next


class NoSuchModel(Failure):
    """There is no such model, or nothing in it that can be read."""

    exit_code = 4


class Relation(StrEnum):
    """Relationship types of the graph. The first five are accepted relations, found in the weights."""

    FINE_TUNED_FROM = "FINE_TUNED_FROM"
    QUANTIZED_FROM = "QUANTIZED_FROM"
    ADAPTER_OF = "ADAPTER_OF"
    MERGED_FROM = "MERGED_FROM"
    COPY_OF = "COPY_OF"
    POSSIBLE_PARENT = "POSSIBLE_PARENT"  # a tie: kept with its probability, not asserted
    DECLARES_BASE = "DECLARES_BASE"  # what the card or a configuration file says
    SUPERSEDED = "SUPERSEDED"  # an edge that no longer holds; `kind` keeps its former type

    @property
    def phrase(self) -> str:
        """As in "CHILD … PARENT"."""
        return _PHRASES[self]

    @property
    def word(self) -> str:
        """What people read in tables, trees and pictures."""
        return _WORDS[self]


SAME_FILES, SAME_FILES_WORD = "SAME_FILES", "same files"  # in answers, beside relations: weights of the same bytes
# reasons of an undecided answer that name a model with the same weights as `original`
TIED = ("tie_same_files", "tie_equal_values")
CONTRADICTED_ADAPTER = "adapter_contradicted"  # the reason of an adapter that does not fit what it declares


_PHRASES = {
    Relation.FINE_TUNED_FROM: "was fine-tuned from",
    Relation.QUANTIZED_FROM: "was quantized from",
    Relation.ADAPTER_OF: "is an adapter of",
    Relation.MERGED_FROM: "was merged from",
    Relation.COPY_OF: "is a copy of",
    Relation.POSSIBLE_PARENT: "possibly comes from",
    Relation.DECLARES_BASE: "declares as its base",
    Relation.SUPERSEDED: "was once said to come from",
}

_WORDS = {
    Relation.FINE_TUNED_FROM: "fine-tuned",
    Relation.QUANTIZED_FROM: "quantized",
    Relation.ADAPTER_OF: "adapter",
    Relation.MERGED_FROM: "merge",
    Relation.COPY_OF: "copy",
    Relation.POSSIBLE_PARENT: "possible",
    Relation.DECLARES_BASE: "declared",
    Relation.SUPERSEDED: "superseded",
}


KEYS_JOINED_BY = "+"


def keys_in(signature: str) -> tuple[str, ...]:
    """The keys of backbones that a signature holds; one that an earlier version wrote is a single key."""
    return tuple(signature.split(KEYS_JOINED_BY))


def share_key(one: str | None, other: str | None) -> bool:
    """Whether two signatures have a backbone in common."""
    return one is not None and other is not None and not set(keys_in(one)).isdisjoint(keys_in(other))


ACCEPTED = (
    Relation.FINE_TUNED_FROM,
    Relation.QUANTIZED_FROM,
    Relation.ADAPTER_OF,
    Relation.MERGED_FROM,
    Relation.COPY_OF,
)


class Status(StrEnum):
    """How much of a model could be read."""

    SKETCHED = "sketched"  # header and sample are in the sketch store
    UNREADABLE = "unreadable"  # nothing that can be read safely; `reason` says why
    GATED = "gated"  # the Hub wants an accepted licence or a token
    ADAPTER = "adapter"  # belongs to a model; compared by what it claims and the shapes of what it adapts, not by value
    GONE = "gone"  # the Hub said directly, more than once, that it is not there


@dataclass(frozen=True, slots=True)
class Model:
    """A repository at a revision, or a folder or file on disk.

    Attributes:
        hub_id: identity, see the module's first lines.
        repo_id: name as of the last crawl (`org/name`), or the path of a local model.
        revision: commit, 40 hex digits; None for local models.
        weights_digest: sha256 hex over the hashes of the weight files: equal digests mean equal files.
        quantization: how its numbers are packed into few bits, as `gptq 4 bits`; None where they are plain numbers.
        path: where a model on disk lies.
        aliases: further names that cards and people call a model on disk by, such as its path under the folder that was crawled.
        weights_since: since when it has had its weights, where a crawl saw other ones in it before; None where they are as old as it is,
            as far as is known.
        signature: keys of its backbones, joined; models that share one can be compared value by value in it.
    """

    hub_id: str
    repo_id: str
    status: Status
    revision: str | None = None
    weights_digest: str | None = None
    signature: str | None = None
    reason: str | None = None
    created_at: datetime | None = None
    last_modified: datetime | None = None
    downloads: int | None = None
    license: str | None = None
    library: str | None = None
    quantization: str | None = None
    path: str | None = None
    aliases: tuple[str, ...] = ()
    weights_since: datetime | None = None

    @property
    def several(self) -> tuple[str, ...]:
        """Names of the models that a repository holds of which none is the main one; empty for all others."""
        reason = self.reason or ""
        return tuple(reason.removeprefix(SEVERAL_MODELS).split(", ")) if reason.startswith(SEVERAL_MODELS) else ()

    @property
    def weights_date(self) -> datetime | None:
        """When its weights were published, as far as is known; None for models on disk."""
        return self.weights_since or self.created_at

    @property
    def quantized(self) -> bool:
        """Whether it was recognised as packed into few bits."""
        return self.quantization is not None


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """What the weight files themselves say of a model, whatever repository or folder they lie in.

    Kept with the sample of the weights, by their digest, so that no later visit can know less than the first.

    Attributes:
        signature: see Model.
        quantization: what tensors' names and types show, as `gptq`; None for plain numbers.
        low_rank: an adapter: its tensors change those of another model, mostly as halves of low-rank products.
        claims: (base, relation, source) of bases that the files name in their headers; source as in Declaration.
    """

    signature: str
    quantization: str | None = None
    low_rank: bool = False
    claims: tuple[tuple[str, str | None, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a card, a tag or a configuration file says about a model's base. A claim to check, never a fact.

    Attributes:
        child: hub_id of the model that makes the claim.
        base: what is written there: mostly `org/name`, at times a path, an address or the model's own name; `sha256:<64 hex>` where
            a file names its parent by hash.
        relation: `finetune`, `adapter`, `merge`, `quantized` or None where nothing is said.
        source: `card`, `tag`, `config` (`_name_or_path`), `adapter_config`, `mergekit_config` (a merge's recipe), `gguf` (metadata of a
            GGUF file) or `metadata` (of a safetensors file).
    """

    child: str
    base: str
    relation: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Edge:
    """An accepted relation, or a tie (`POSSIBLE_PARENT`).

    Attributes:
        child, parent: hub_id.
        probability: calibrated, 0 to 1.
        method, method_version: what decided, so that a later version can supersede it.
        decided_by: the kinds of evidence that decided, strongest first: names of signals, `dates`, `declared`.
        evidence: JSON-serialisable numbers and sentences behind the decision.
        share: for MERGED_FROM, the parent's share of the weights, 0 to 1.
        parts: paths of the parts of the child that come from the parent, the largest first; none where all of it does.
    """

    child: str
    parent: str
    kind: Relation
    probability: float
    method: str
    method_version: str
    decided_by: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    child_revision: str | None = None
    parent_revision: str | None = None
    share: float | None = None
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What detection says about one model when it asserts no parent, kept on the model itself.

    Attributes:
        hub_id: the model.
        answer: `parent`, `root` or `undecided`.
        reason: key of the sentence's template; reason_values: JSON-serialisable, what fills it, with models by identity. Without
            values, `reason` is a text of its own, as earlier versions kept it.
        probability: of the answer.
    """

    hub_id: str
    answer: str
    reason: str
    probability: float
    reason_values: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One pass of `crawl`, `detect` or `sync`; `summary` holds counts and durations (JSON-serialisable)."""

    run_id: str
    command: str
    started_at: datetime
    finished_at: datetime | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)


def chance(probability: float) -> str:
    """A probability as text: two decimals, and never certain."""
    if probability >= 0.995:
        return ">0.99"
    return "<0.01" if probability < 0.005 else f"{probability:.2f}"


def chance_undecided(probability: float) -> str:
    """As `chance`, rounded down: what is below the threshold does not read as if it reached it."""
    return chance(min(floor(100 * probability + 1e-9) / 100, 0.99)) if probability >= 0.01 else chance(probability)


def chance_beside(probability: float, found: float | None, of_both: bool) -> str:
    """The probability of a model that is not the answer as text that adds up with the probability of what is.

    Args:
        found: the probability of what was found; None where nothing was. of_both: that one is of the two together.
    """
    if found is None:
        return chance_undecided(probability)
    if of_both:
        return f"{chance(probability)} of the {chance(found)}"
    return chance(min(probability, 1 - found))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """As in "1 model", "2 models", "5,000 models"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def local_time(moment: datetime) -> datetime:
    """A moment in local time; in UTC where TZ is further from it than Python can hold (POSIX allows a whole day and more)."""
    try:
        return moment.astimezone()
    except (ValueError, OverflowError):
        return moment.astimezone(UTC)


def printable(text: str) -> str:
    """A text of strangers, such as a file's name, for a terminal or a picture.

    Control characters, line breaks, marks that turn the direction of writing, what has no width, and bytes that are no UTF-8 come
    out as escapes (`\\x1b`); everything else, whatever its script, stays: joiners too, which scripts and pictograms need.
    """
    return text if text.isprintable() else _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def home_path(text: str) -> Path:
    """A path with `~` replaced.

    Raises:
        Failure: there is no such home folder, as for a user without HOME and without an entry in passwd.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise Failure(
            f"{text}: there is no such home folder" + ("" if os.environ.get("HOME") else " (HOME is not set)"),
            "set LINEAGE_STORE to a folder, or give the whole path",
        ) from None


def without_password(address: str) -> str:
    """An address for a message: user and password are left out, also a password with a slash, and one behind `?`."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = _USER.sub("", rest).partition("/")
    rest = f"{host.rpartition('@')[2]}{slash}{path}"
    return f"{scheme}://{_SECRET.sub('…', rest)}" if separator else address


def real_path(path: Path) -> Path:
    """A path without links; of a link that leads to itself, the link: Path.resolve raises RuntimeError for one before Python 3.13."""
    return Path(os.path.realpath(path))


def local_id(path: Path) -> str:
    """Identity of a model on disk: depends on its resolved path only, so that a changed file is a new revision of it."""
    return LOCAL + hashlib.sha256(os.fsencode(real_path(path))).hexdigest()[:24]
