"""Many small files of sketches -> few large ones. What a new file holds is only then removed where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from lineage.detect.blob_store import BlobStore
from lineage.detect.shards import SHARD_BYTES, Shard, SketchRecord, digest_in, write_shard
from lineage.detect.sketch_file import DamagedSketch, signature_in, unpack
from lineage.graphdb.schema import Failure

SMALL_SHARD_BYTES = SHARD_BYTES // 4


class SketchChanged(Failure):
    """A file of a sketch, which never changes, did."""


def gather(place: BlobStore, names: Iterable[str]) -> None:
    """Sketches in files of their own into shards; those that are damaged stay where they are."""
    found = []
    for name in names:
        try:
            content, digest = place.read(name), digest_in(name)
            unpack(digest, content)
        except (DamagedSketch, FileNotFoundError):
            continue
        record = SketchRecord(signature_in(content), digest, len(content), hashlib.sha256(content).digest())
        found.append((record, name))
    found.sort(key=lambda pair: (pair[0].signature, pair[0].digest))
    for some in _of_shard_size(found):
        write_shard(place, [record for record, _ in some], (_same(place, name, record) for record, name in some))
        for _, name in some:
            place.remove(name)


def merge(place: BlobStore, shards: Sequence[Shard], at_least: int) -> bool:
    """Some small shards into one.

    Args:
        at_least: number of small ones that make it worthwhile.
    Returns:
        Whether there was something to merge.
    Raises:
        FileNotFoundError: another process removed one.
    """
    small = [shard for shard in shards if shard.current and shard.size_bytes < SMALL_SHARD_BYTES]
    small.sort(key=lambda shard: (shard.size_bytes, shard.name))
    if len(small) < at_least:
        return False
    while sum(shard.size_bytes for shard in small) > SHARD_BYTES:
        small.pop()
    rewrite(place, small)
    return True


def rewrite(place: BlobStore, shards: Sequence[Shard]) -> None:
    """Some shards into one, which must fit into memory; what several hold is kept once, what is damaged is left out."""
    held: dict[str, tuple[SketchRecord, bytes]] = {}
    for shard in shards:
        for row, content in shard.records(place, range(len(shard.digests))):
            if content is not None:
                digest, signature = (bytes(column[row]).decode() for column in (shard.digests, shard.signatures))
                held[digest] = (
                    SketchRecord(signature, digest, len(content), shard.checksums[row].tobytes()),
                    bytes(content),
                )
    ordered = sorted(held.values(), key=lambda pair: (pair[0].signature, pair[0].digest))
    written = None
    if ordered:
        written = write_shard(place, [record for record, _ in ordered], (content for _, content in ordered))
    for shard in shards:
        if shard.name != written:
            place.remove(shard.name)


def _same(place: BlobStore, name: str, record: SketchRecord) -> bytes:
    content = place.read(name)
    if hashlib.sha256(content).digest() != record.checksum:
        raise SketchChanged(f"{name} under {place.address} changed while it was read", "try again")
    return content


def _of_shard_size(found: list[tuple[SketchRecord, str]]) -> Iterator[list[tuple[SketchRecord, str]]]:
    some: list[tuple[SketchRecord, str]] = []
    size = 0
    for record, name in found:
        if some and size + record.size_bytes > SHARD_BYTES:
            yield some
            some, size = [], 0
        some.append((record, name))
        size += record.size_bytes
    if some:
        yield some
