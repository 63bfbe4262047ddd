"""Sketches as files, on this disk or at any address of fsspec: each first in a file of its own, later many in a shard.

A sketch that is put gets a file, `<first two digits>/<weights digest>.v<version>.safetensors`, whole and flushed when `put` returns.
`compact` writes such files into shards (detect/shards.py), ordered by signature, and only then removes them; few large shards take
the place of many small ones in the same way. Nothing is ever changed in place: a crash leaves at most something twice, any number
of processes may read while one writes, and folders are copied or merged by copying files. Raw dtypes are kept: equality of
bits is evidence. Everything is checked against its sha256 when it is read.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock

import numpy as np

from lineage.detect.backbone import group_signature
from lineage.detect.blob_store import open_blob_store
from lineage.detect.compacting import gather, merge, rewrite
from lineage.detect.decode import DTYPE_BYTES
from lineage.detect.shards import FORMER_SUFFIXES, SUFFIX, SUFFIXES, Index, digest_in, is_shard, is_single, single_name
from lineage.detect.signature import FLOAT_DTYPES, Role, TensorInfo, TensorSpec, tensors_of
from lineage.detect.sketch import BUDGET_VALUES, Block, plan
from lineage.detect.sketch_file import DamagedSketch, Sample, Sketch, header_bytes, pack, signature_in, unpack
from lineage.graphdb.schema import Failure, WeightFacts

__all__ = ["BadSketch", "NotFinite", "Sample", "Sketch", "SketchStore", "make_sketch"]

logger = logging.getLogger(__name__)

LOOSE_FILES = 512  # number of single files from which a shard is written
LARGEST = 1e9  # of a value that is compared: squares of sums of larger ones are beyond what single precision holds
_TOO_LARGE = f"holds values beyond {LARGEST:.0e}"
_NUMBERED_STATISTIC = re.compile(r"(^|\.)batch_normalization(_\d+)?\.vars\.[23]$")
SMALL_SHARDS = 8  # number of small shards from which they are merged


class NotFinite(Failure):
    """A model whose values hold NaN or infinity, or are as large as those of a training that diverged, cannot be compared."""

    exit_code = 4

    def __init__(self, tensor: str, what: str = "holds NaN or infinite values"):
        super().__init__(
            f"tensor {tensor!r} {what}",
            "such a model cannot be compared; check that its training or conversion went well",
        )
        self.tensor = tensor


class BadSketch(Failure):
    """A sketch that is missing, damaged or of another version, or an invalid digest."""


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """What lies in a store: sketches in files of their own, shards and the sketches in them, and what is damaged, by name."""

    single: int
    shards: int
    in_shards: int
    bytes: int
    damaged: tuple[str, ...] = ()


def make_sketch(
    digest: str,
    header: Sequence[TensorSpec],
    blocks: Iterable[tuple[Block, bytes]],
    facts: WeightFacts | None = None,
) -> Sketch:
    """Sketch of one model from the bytes read at its planned positions.

    Args:
        facts: what else the weight files say, kept with the sketch; its signature is set here.
    Raises:
        NotFinite: a sampled value of a weight is NaN, infinite or beyond LARGEST. Constants that are, such as masks, are left out,
            and statistics beyond LARGEST: they follow the data.
        BadSketch: a block's bytes are not as many as its values need.
    """
    tensors = {tensor.source: tensor for tensor in tensors_of(header)}
    samples = {}
    for block, raw in blocks:
        tensor = tensors[block.tensor]
        if len(raw) != (block.stop - block.start) * DTYPE_BYTES[tensor.dtype]:
            raise BadSketch(
                f"{block.tensor}: {len(raw)} bytes read where {block.stop - block.start} {tensor.dtype} values were planned"
            )
        sample = Sample(tensor.name, tensor.dtype, tensor.shape, block.start, block.stop, bytes(raw))
        values = sample.values()
        if not (np.abs(values) <= LARGEST).all():
            if _is_mask(values) or (_is_statistic(tensor) and np.isfinite(values).all()):
                continue
            raise NotFinite(block.tensor) if not np.isfinite(values).all() else NotFinite(block.tensor, _TOO_LARGE)
        samples[tensor.name] = sample
    layout = {tensor.name: tensor.shape for tensor in tensors.values()}
    signature = group_signature(header)
    said = facts and replace(facts, signature=signature)
    packed = frozenset(tensor.name for tensor in tensors.values() if tensor.dtype not in FLOAT_DTYPES)
    return Sketch(digest, signature, sum(t.values for t in tensors.values()), layout, samples, said, packed)


def _is_statistic(tensor: TensorInfo) -> bool:
    """Whether values follow the data: those of a batch norm may be of any size. Keras 3 numbers them behind gain and bias."""
    return tensor.role is Role.STATISTIC or bool(_NUMBERED_STATISTIC.search(tensor.name))


def _is_mask(values: np.ndarray) -> bool:
    """Whether infinite values are meant: one number alone, or nothing but infinities and zeros."""
    finite = values[np.abs(values) <= LARGEST]
    return not np.isnan(values).any() and (values.size == 1 or (finite.size > 0 and not finite.any()))


class SketchStore:
    """A folder or an address of sketches. Cheap to make: nothing is opened before it is asked for. Used from any thread."""

    def __init__(self, where: Path | str, budget_values: int = BUDGET_VALUES):
        self.place = open_blob_store(where)
        self.budget_values = budget_values
        self.put_since_compacted = 0
        self._lock = RLock()
        self._held: Index | None = None

    @property
    def address(self) -> str:
        return self.place.address

    def plan(self, header: Sequence[TensorSpec]) -> list[Block]:
        return plan(header, self.budget_values)

    def signature_if_known(self, weights_digest: str) -> str | None:
        """Signature of the stored sketch with this digest; None if it is missing, unreadable, or of a former version only,
        which is worth reading anew."""
        name, index = single_name(weights_digest), self._index()
        found = index.find(weights_digest)
        if found is not None and index.shards[found[0]].current:
            return bytes(index.shards[found[0]].signatures[found[1]]).decode()
        try:
            (first,) = self.place.ranges(name, [(0, 8)])
            (content,) = self.place.ranges(name, [(0, header_bytes(first))])
            return signature_in(content)
        except (DamagedSketch, OSError, OverflowError, MemoryError):
            return None  # damaged: it is simply read and written again

    def holds(self, weights_digest: str) -> bool:
        """Whether there is a sketch with this digest, of this version or a former one."""
        if self._index().find(weights_digest) is not None or self.signature_if_known(weights_digest) is not None:
            return True
        return any(self._has_single(weights_digest, suffix) for suffix in FORMER_SUFFIXES)

    def facts_if_known(self, weights_digest: str) -> WeightFacts | None:
        """What the weight files of this digest say beside their numbers; None where no readable sketch of this version holds it."""
        if self.signature_if_known(weights_digest) is None:
            return None
        found = next(self.many([weights_digest]), None)
        return None if found is None else found.facts

    def keep(self, sketch: Sketch) -> None:
        """On disk when this returns; the same once more changes nothing."""
        self.place.write(single_name(sketch.digest), [pack(sketch)])
        with self._lock:
            self.put_since_compacted += 1

    def get(self, weights_digest: str) -> Sketch:
        """
        Raises:
            BadSketch: no sketch with this digest, or its file is damaged.
        """
        found = next(self.many([weights_digest]), None)
        if found is None:
            raise BadSketch(
                f"no readable sketch {weights_digest[:12]}… under {self.address}",
                "crawl the model again: `lineage crawl --repos FILE`",
            )
        return found

    def many(self, weights_digests: Iterable[str]) -> Iterator[Sketch]:
        """Those sketches that are there and whole, each once, in the order in which they lie there."""
        wanted = dict.fromkeys(weights_digests)
        index = self._index()
        rows: dict[int, list[int]] = {}
        single = []
        for digest in wanted:
            found = index.find(digest)
            if found is None or (not index.shards[found[0]].current and self._has_single(digest)):
                single.append(digest)
            else:
                rows.setdefault(found[0], []).append(found[1])
        gone: list[str] = []
        for number in sorted(rows):
            shard, missing = index.shards[number], set(rows[number])
            try:
                for row, content in shard.records(self.place, rows[number]):
                    missing.discard(row)
                    sketch = self._unpacked(bytes(shard.digests[row]).decode(), content)
                    if sketch is not None:
                        yield sketch
            except FileNotFoundError:  # another process compacted it just now
                gone += [bytes(shard.digests[row]).decode() for row in missing]
        for digest in single:
            try:
                sketch = self._unpacked(digest, self._read_single(digest), checked=False)
            except FileNotFoundError:
                gone.append(digest)
            except OSError as error:
                logger.warning("the sample %s… cannot be read: %s", digest[:12], error)
            else:
                if sketch is not None:
                    yield sketch
        if gone and self._refreshed():
            yield from self.many(gone)

    def compact(self, everything: bool = False) -> StoreCounts:
        """Sketches in files of their own -> shards, and small shards -> larger ones, where it is worth it.

        Args:
            everything: also where it is not.
        """
        with self._lock:
            single = [name for name in self.place.names() if is_single(name) and name.endswith(SUFFIX)]
            if single and (everything or len(single) >= LOOSE_FILES):
                gather(self.place, single)
            with contextlib.suppress(FileNotFoundError):  # another process does the same
                while merge(self.place, Index.of(self.place).shards, 2 if everything else SMALL_SHARDS):
                    pass
            self.put_since_compacted = 0
            return self.stored()

    def compact_if_due(self, at_end: bool = False) -> None:
        """What a crawl calls after every page, and at its end."""
        if self.put_since_compacted >= (1 if at_end else LOOSE_FILES):
            self.compact()

    def stored(self) -> StoreCounts:
        """What is there, as far as the tables say."""
        with self._lock:
            self._held = None
            index = self._index()
            single = sum(map(is_single, self.place.names()))
            size = sum(shard.size_bytes for shard in index.shards)
            held = sum(len(shard.digests) for shard in index.shards)
            return StoreCounts(single, len(index.shards), held, size, index.damaged)

    def check(self, repair: bool = False) -> StoreCounts:
        """Reads everything; `damaged` names shards and sketches whose bytes are not those that were written.

        Args:
            repair: take what is damaged away, so that the next crawl reads it again.
        """
        with self._lock:
            found, index = self.stored(), self._index()
            damaged = list(found.damaged)
            for shard in index.shards:
                rows = shard.records(self.place, range(len(shard.digests)))
                bad = [bytes(shard.digests[row]).decode() for row, content in rows if content is None]
                damaged += bad
                if bad and repair and shard.current:  # of a former version it is read anew in any case
                    rewrite(self.place, [shard])
            for name in filter(is_single, self.place.names()):
                if self._unpacked(digest_in(name), self.place.read(name), checked=False) is None:
                    damaged.append(name)
            if repair:
                for name in {*damaged} & {*self.place.names()}:
                    self.place.remove(name)
                self._held = None
            return replace(found, damaged=tuple(damaged))

    def copy_to(self, other: SketchStore) -> int:
        """Every file that the other store lacks, after what is single was compacted; their number."""
        there, copied = set(other.place.names()), 0
        for name in self.place.names():
            if name not in there and (is_single(name) or is_shard(name)):
                other.place.write(name, [self.place.read(name)])
                copied += 1
        other._refreshed()
        return copied

    def _has_single(self, digest: str, suffix: str = SUFFIX) -> bool:
        try:
            return bool(self.place.ranges(single_name(digest, suffix), [(0, 8)])[0])
        except OSError:
            return False

    def _read_single(self, digest: str) -> bytes:
        """
        Raises:
            FileNotFoundError: missing in this version and the former ones. OSError: it cannot be read.
        """
        for suffix in SUFFIXES[:-1]:
            with contextlib.suppress(FileNotFoundError):
                return self.place.read(single_name(digest, suffix))
        return self.place.read(single_name(digest, SUFFIXES[-1]))

    def _unpacked(self, digest: str, content: bytes | memoryview | None, checked: bool = True) -> Sketch | None:
        try:
            if content is None:
                raise DamagedSketch("its bytes are not those that were written")
            return unpack(digest, content, checked)
        except DamagedSketch as error:
            logger.warning("the sample %s… under %s is damaged: %s", digest[:12], self.address, error)
            return None

    def _index(self) -> Index:
        with self._lock:
            if self._held is None:
                self._held = Index.of(self.place)
            return self._held

    def _refreshed(self) -> bool:
        """Looks again at which shards there are; whether that changed."""
        with self._lock:
            before, self._held = self._held, None
            after = self._index()
            return before is None or [s.name for s in before.shards] != [s.name for s in after.shards]
