"""The weights of one model as a header and readable ranges, the same for files on the Hub and on disk.

Nothing reads a whole file: a header is one or two reads, a sample one read a block, and blocks that lie close together in
one file are read together where that is cheaper than another request.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from lineage.crawler.claims_in_files import bases_in_metadata
from lineage.crawler.headers import (
    FIRST_READ_BYTES,
    LOCAL_HEADER_LIMIT_BYTES,
    REMOTE_HEADER_LIMIT_BYTES,
    SHARD_FIRST_READ_BYTES,
    BadHeader,
    FileHeader,
    Span,
    SpanT,
    TensorHeader,
    join_shards,
    read_file_header,
)
from lineage.crawler.listing import is_safe_path
from lineage.crawler.strided import affordable, bytes_spanned, in_order
from lineage.graphdb.schema import Failure

MERGE_GAP_BYTES = 64 * 1024  # about what a request costs in time on a usual line
MERGED_READ_BYTES = 4 * 1024 * 1024
MAX_INDEX_CONTAINERS = 10_000
SAMPLE_LIMIT_BYTES = 64 * 1024 * 1024  # of one model: more cannot be a sample


class UnreadableWeights(Failure):
    """A model whose weights are not all there, or not such that they can be sampled."""

    exit_code = 4


class WeightFile(Protocol):
    """One file of weights, wherever it lies. `name` is unique within the model."""

    name: str

    @property
    def size_bytes(self) -> int: ...
    def read(self, start: int, stop: int) -> bytes: ...


class LocalFile:
    """A file on disk."""

    def __init__(self, path: Path, name: str | None = None):
        self.path = path
        self.name = name or path.name

    @cached_property
    def size_bytes(self) -> int:
        return self._guarded(lambda: self.path.stat().st_size)

    def read(self, start: int, stop: int) -> bytes:
        data: bytes = self._guarded(lambda: self._pread(start, stop))
        if len(data) != stop - start:
            raise UnreadableWeights(f"{self.path} became shorter while it was read", "is it still being written?")
        return data

    def _pread(self, start: int, stop: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def _guarded(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            raise UnreadableWeights(
                f"{self.path} cannot be read: {os.strerror(error.errno or 0)}", "check its permissions"
            ) from None


@dataclass(frozen=True, slots=True)
class _RangedRead:
    """One ranged read and the blocks that it serves."""

    file: int
    start: int
    stop: int
    spans: tuple[tuple[Any, int, int], ...]  # block, its bytes [start, stop) of the file


class Weights:
    """Header and ranges of one model.

    Args:
        files: of one set of weights, in the order of their names.
        header_limit_bytes: of one file's header.
        parallel: how many ranged reads may be under way at once.
        placed: tensor -> its file, as the set's index has it; asked only where a tensor lies in two files.
    """

    def __init__(
        self,
        files: Sequence[WeightFile],
        header_limit_bytes: int = REMOTE_HEADER_LIMIT_BYTES,
        parallel: int = 1,
        placed: Callable[[], Mapping[str, str]] | None = None,
    ):
        self.files = tuple(files)
        self._placed = placed
        self._limit = header_limit_bytes
        self._parallel = parallel

    @cached_property
    def header(self) -> tuple[TensorHeader, ...]:
        """All tensors; every file's own header counts, whatever an index says. Only where a tensor lies in two files, the index decides.

        Raises:
            Failure: a header that cannot be trusted, or a file that cannot be read; `BadHeader`, `UnreadableWeights`, or what a
                remote file raises.
        """
        return join_shards((found.tensors for found in self._headers), self._placed)

    @cached_property
    def _tensors(self) -> Mapping[str, TensorHeader]:
        return {tensor.name: tensor for tensor in self.header}

    @property
    def metadata(self) -> Mapping[str, str]:
        """Texts beside the tensors, of all files; raises like `header`."""
        return {key: text for found in self._headers for key, text in found.metadata.items()}

    @cached_property
    def _headers(self) -> tuple[FileHeader, ...]:
        parallel = min(self._parallel, len(self.files))
        if parallel <= 1:
            return tuple(map(self._header_of, self.files))
        with ThreadPoolExecutor(parallel) as pool:
            return tuple(pool.map(self._header_of, self.files))

    def read(self, blocks: Iterable[SpanT]) -> Iterator[tuple[SpanT, bytes]]:
        """Bytes of blocks of values, in the order in which they lie in the files.

        Raises:
            UnreadableWeights: the blocks are too large for a sample.
        """
        reads = self._plan(affordable(list(blocks), self._tensors))
        if self._parallel <= 1:
            yield from chain.from_iterable(map(self._fetch, reads))
            return
        with ThreadPoolExecutor(self._parallel) as pool:
            try:
                yield from chain.from_iterable(pool.map(self._fetch, reads))
            finally:
                pool.shutdown(cancel_futures=True)

    @property
    def bases(self) -> tuple[tuple[str, str | None, str], ...]:
        """Models that the files name as the origin, in the texts beside their tensors; raises like `header`."""
        return tuple((*claim, "metadata") for claim in bases_in_metadata(self.metadata))

    @property
    def quantization(self) -> str | None:
        """None: names and configuration say it."""
        return None

    def _header_of(self, file: WeightFile) -> FileHeader:
        first = max(SHARD_FIRST_READ_BYTES, 2 * FIRST_READ_BYTES // len(self.files))
        return read_file_header(file.read, file.name, file.size_bytes, self._limit, min(first, FIRST_READ_BYTES))

    def _plan(self, blocks: Sequence[SpanT]) -> list[_RangedRead]:
        number = {file.name: index for index, file in enumerate(self.files)}
        spans = sorted(
            ((number[self._tensors[b.tensor].file], *_bytes_of(self._tensors[b.tensor], b), b) for b in blocks),
            key=lambda span: span[:3],
        )
        if sum(stop - start for _, start, stop, _ in spans) > SAMPLE_LIMIT_BYTES:
            raise UnreadableWeights(
                f"its tensors are so wide that a sample would be more than {SAMPLE_LIMIT_BYTES >> 20} MiB",
                "such a model cannot be compared",
            )
        reads: list[_RangedRead] = []
        for file, start, stop, block in spans:
            last = reads[-1] if reads else None
            if (
                last is not None
                and last.file == file
                and start - last.stop <= MERGE_GAP_BYTES
                and max(stop, last.stop) - last.start <= MERGED_READ_BYTES
            ):
                reads[-1] = _RangedRead(file, last.start, max(stop, last.stop), (*last.spans, (block, start, stop)))
            else:
                reads.append(_RangedRead(file, start, stop, ((block, start, stop),)))
        return reads

    def _fetch(self, read: _RangedRead) -> list[tuple[Any, bytes]]:
        data = self.files[read.file].read(read.start, read.stop) if read.stop > read.start else b""
        raw = ((block, data[start - read.start : stop - read.start]) for block, start, stop in read.spans)
        return [(block, in_order(self._tensors[block.tensor], block, found)) for block, found in raw]


def local_weights(paths: Sequence[Path]) -> Weights:
    return Weights([LocalFile(path) for path in paths], LOCAL_HEADER_LIMIT_BYTES)


def places_in(index: bytes, name: str) -> dict[str, str]:
    """Tensor -> file beside a `….safetensors.index.json`.

    Raises:
        BadHeader: it is no such index.
    """
    if index.count(b"{") + index.count(b"[") > MAX_INDEX_CONTAINERS:  # a real one has three objects and no list
        raise BadHeader(name, "the index is not a list of tensors")
    try:
        content = json.loads(index)
    except (ValueError, RecursionError):
        raise BadHeader(name, "the index is not JSON") from None
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise BadHeader(name, "the index names no files")
    files = {file if isinstance(file, str) else "" for file in places.values()}
    if not all(is_safe_path(file) and "/" not in file and file.lower().endswith(".safetensors") for file in files):
        raise BadHeader(name, "the index names something that is not a file beside it")
    return places


def _bytes_of(tensor: TensorHeader, block: Span) -> tuple[int, int]:
    """Absolute byte offsets within which a block lies in its tensor's file."""
    if tensor.strides is not None:
        return bytes_spanned(tensor, block)
    if not 0 <= block.start <= block.stop <= tensor.values:
        raise ValueError(
            f"block [{block.start}, {block.stop}) lies outside of {tensor.name} with {tensor.values} values"
        )
    if block.start == block.stop:
        return tensor.start, tensor.start
    size = tensor.stop - tensor.start
    ends = [offset * size // tensor.values for offset in (block.start, block.stop)]
    if any(end * tensor.values != offset * size for end, offset in zip(ends, (block.start, block.stop), strict=True)):
        raise UnreadableWeights(
            f"{tensor.name} is packed so that its values cannot be cut out", "such a model cannot be compared"
        )
    return tensor.start + ends[0], tensor.start + ends[1]
