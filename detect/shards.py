"""Many sketches in one file, so that thousands of one architecture are read in a few long reads.

A shard is a safetensors file: `records` holds the files of the sketches (detect/sketch_file.py) one after the other, ordered by
signature and digest; `digests`, `signatures`, `starts` and `checksums` say what and where they are and come first, so that two
short reads tell what is in a shard. It is written once and named by what it holds: two that were compacted from the same
sketches on two machines are the same file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from lineage.detect.blob_store import BlobStore
from lineage.detect.sketch import SKETCH_VERSION
from lineage.detect.sketch_file import DamagedSketch
from lineage.graphdb.schema import Failure

logger = logging.getLogger(__name__)

FOLDER = "shards"
SUFFIX = f".v{SKETCH_VERSION}.safetensors"
FORMER_SUFFIXES = tuple(
    f".v{former}.safetensors" for former in range(SKETCH_VERSION - 1, 0, -1)
)  # still read; never written
SUFFIXES = (SUFFIX, *FORMER_SUFFIXES)
SHARD_BYTES = 128 * 1024 * 1024
DIGEST = "S64"
SIGNATURE_BYTES, FIRST_SIGNATURE_BYTES = 136, 16  # eight keys of backbones; one, in the first version
MAX_HEADER_BYTES = 64 * 1024
MAX_SKETCHES = 10_000_000
BUNDLE_BYTES = 16 * 1024 * 1024  # read at once
GAP_BYTES = 64 * 1024  # what is not wanted but shorter than this is read along
_DIGEST = re.compile(r"[0-9a-f]{1,64}", re.ASCII)
_SINGLE = re.compile(rf"[0-9a-f]{{1,2}}/[0-9a-f]{{1,64}}(?:{'|'.join(map(re.escape, SUFFIXES))})", re.ASCII)


class NoDigest(Failure):
    """A text that is not the digest of weights."""


@dataclass(frozen=True, slots=True)
class SketchRecord:
    """One sketch's file before it is in a shard; `checksum` is its sha256."""

    signature: str
    digest: str
    size_bytes: int
    checksum: bytes


@dataclass(frozen=True, slots=True)
class Shard:
    """What a shard holds, in the order of the records.

    Attributes:
        digests: (n,) S64; signatures: (n,) S136, in shards of version 1 S16.
        starts: (n + 1,) int64 from the beginning of the file; checksums: (n, 32) uint8.
    """

    name: str
    digests: np.ndarray
    signatures: np.ndarray
    starts: np.ndarray
    checksums: np.ndarray

    @property
    def size_bytes(self) -> int:
        return int(self.starts[-1])

    @property
    def current(self) -> bool:
        """Whether its sketches are of this version."""
        return self.name.endswith(SUFFIX)

    def records(self, place: BlobStore, rows: Sequence[int]) -> Iterator[tuple[int, memoryview | None]]:
        """(row, its file) in ascending order; None where the bytes are not those that were written.

        Raises:
            FileNotFoundError: the shard was compacted into another one.
        """
        for bundle in _bundles(self.starts, sorted(rows)):
            spans = [(int(self.starts[run[0]]), int(self.starts[run[-1] + 1])) for run in bundle]
            for run, span, data in zip(bundle, spans, place.ranges(self.name, spans), strict=True):
                view = memoryview(data)
                for row in run:
                    found = view[int(self.starts[row]) - span[0] : int(self.starts[row + 1]) - span[0]]
                    whole = hashlib.sha256(found).digest() == self.checksums[row].tobytes()
                    yield row, found if whole else None


@dataclass(frozen=True, slots=True)
class Index:
    """Which of the shards at a place holds which sketch.

    Attributes:
        shards: those that are whole; damaged: names of the others.
        digests: (n,) S64 of all of them, sorted; numbers, rows: (n,) which shard, and where in it.
    """

    shards: tuple[Shard, ...]
    damaged: tuple[str, ...]
    digests: np.ndarray
    numbers: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, place: BlobStore) -> Index:
        shards, damaged = [], []
        for name in sorted(filter(is_shard, place.names(FOLDER)), key=lambda n: (_age(n), n)):
            try:
                shards.append(_open(place, name))
            except FileNotFoundError:  # compacted by another process since it was listed
                continue
            except DamagedSketch as error:
                logger.warning("%s: %s", place.address, error)
                damaged.append(name)
        digests = np.concatenate([np.array([], DIGEST), *(shard.digests for shard in shards)])
        numbers = np.repeat(np.arange(len(shards), dtype=np.int32), [len(shard.digests) for shard in shards])
        rows = np.concatenate([np.array([], np.int32), *(np.arange(len(s.digests), dtype=np.int32) for s in shards)])
        order = digests.argsort(kind="stable")
        return cls(tuple(shards), tuple(damaged), digests[order], numbers[order], rows[order])

    def find(self, digest: str) -> tuple[int, int] | None:
        """(number of the shard, row in it)."""
        key = np.bytes_(digest.encode())
        at = int(self.digests.searchsorted(key))
        if at == len(self.digests) or self.digests[at] != key:
            return None
        return int(self.numbers[at]), int(self.rows[at])


def single_name(digest: str, suffix: str = SUFFIX) -> str:
    """The file of one sketch alone.

    Raises:
        NoDigest: not the digest of weights.
    """
    if not _DIGEST.fullmatch(digest):
        raise NoDigest(f"not a digest: {digest!r}")
    return f"{digest[:2]}/{digest}{suffix}"


def is_single(name: str) -> bool:
    return _SINGLE.fullmatch(name) is not None


def digest_in(name: str) -> str:
    """Of the name of a file of one sketch alone."""
    base = name.rpartition("/")[2]
    return base.removesuffix(SUFFIXES[_age(base)])


def _age(name: str) -> int:
    """Of the version that wrote a file: 0 this one, 1 the one before, …"""
    return next(age for age, suffix in enumerate(SUFFIXES) if name.endswith(suffix))


def is_shard(name: str) -> bool:
    return name.startswith(f"{FOLDER}/") and name.endswith(SUFFIXES)


def write_shard(place: BlobStore, records: Sequence[SketchRecord], contents: Iterable[bytes]) -> str:
    """
    Args:
        records: ordered by signature and digest, each digest once; contents: their files, in the same order.
    Returns:
        The name of the shard, on disk when this returns.
    """
    count = len(records)
    digests = np.array([record.digest for record in records], DIGEST)
    signatures = np.array([record.signature for record in records], f"S{SIGNATURE_BYTES}")
    sizes = np.array([record.size_bytes for record in records], np.int64)
    starts = np.concatenate([[0], sizes.cumsum()]).astype("<i8")
    checksums = b"".join(record.checksum for record in records)
    tables = b"".join((digests.tobytes(), signatures.tobytes(), starts.tobytes(), checksums))
    header: dict[str, object] = {
        "__metadata__": {"version": str(SKETCH_VERSION), "sha256": hashlib.sha256(tables).hexdigest()}
    }
    at = 0
    for name, dtype, shape, size in (
        ("digests", "U8", [count, 64], 64 * count),
        ("signatures", "U8", [count, SIGNATURE_BYTES], SIGNATURE_BYTES * count),
        ("starts", "I64", [count + 1], 8 * (count + 1)),
        ("checksums", "U8", [count, 32], 32 * count),
        ("records", "U8", [int(starts[-1])], int(starts[-1])),
    ):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    name = f"{FOLDER}/{hashlib.sha256(tables).hexdigest()[:24]}{SUFFIX}"
    place.write(name, chain([len(text).to_bytes(8, "little"), text, tables], contents))
    place.flush(FOLDER)
    return name


def _open(place: BlobStore, name: str) -> Shard:
    (beginning,) = place.ranges(name, [(0, MAX_HEADER_BYTES)])
    size = int.from_bytes(beginning[:8], "little")
    try:
        header = json.loads(beginning[8 : 8 + size]) if size <= MAX_HEADER_BYTES - 8 else {}
        count = int(header["digests"]["shape"][0])
        expected = str(header["__metadata__"]["sha256"])
    except (ValueError, KeyError, TypeError, IndexError):
        raise DamagedSketch(f"{name} has no header of a shard") from None
    if not 0 < count < MAX_SKETCHES:
        raise DamagedSketch(f"{name} claims {count} sketches")
    wide = FIRST_SIGNATURE_BYTES if name.endswith(FORMER_SUFFIXES[-1]) else SIGNATURE_BYTES
    first, wanted = 8 + size, 64 * count + wide * count + 8 * (count + 1) + 32 * count
    tables = beginning[first : first + wanted]
    if len(tables) < wanted:
        (tables,) = place.ranges(name, [(first, first + wanted)])
    if len(tables) != wanted or hashlib.sha256(tables).hexdigest() != expected:
        raise DamagedSketch(f"the tables of {name} are not those that were written")
    cuts = np.cumsum([64 * count, wide * count, 8 * (count + 1)])
    starts = np.frombuffer(tables[cuts[1] : cuts[2]], "<i8") + first + wanted  # (count + 1,)
    return Shard(
        name,
        np.frombuffer(tables[: cuts[0]], DIGEST),
        np.frombuffer(tables[cuts[0] : cuts[1]], f"S{wide}"),
        starts,
        np.frombuffer(tables[cuts[2] :], np.uint8).reshape(count, 32),
    )


def _bundles(starts: np.ndarray, rows: Sequence[int]) -> Iterator[list[list[int]]]:
    """Rows -> runs that are read in one go, as many at once as a bundle holds."""
    bundle: list[list[int]] = []
    held = 0
    for row in rows:
        size = int(starts[row + 1] - starts[row])
        if bundle and held + size > BUNDLE_BYTES:
            yield bundle
            bundle, held = [], 0
        if bundle and int(starts[row] - starts[bundle[-1][-1] + 1]) <= GAP_BYTES:
            bundle[-1].append(row)
        else:
            bundle.append([row])
        held += size
    if bundle:
        yield bundle
