"""Weight files within a zip archive, as stable-baselines3 (`policy.pth` beside its settings) and TabNet (`network.pt`) publish models.

Of the archive's members one model is chosen as it would be of the files of a folder, and read by that format's own reader. What is
stored is read by ranges of the archive; what is deflated is inflated as a whole, up to a limit. Nothing is unpacked to disk or run.

Format: zip_directory.py; https://stable-baselines3.readthedocs.io/en/master/guide/save_format.html.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from os.path import commonpath
from typing import Any

from lineage.crawler.formats.interface import Format, Opening, Readable
from lineage.crawler.formats.safetensors import Safetensors
from lineage.crawler.formats.torch_zip import TorchZip
from lineage.crawler.formats.zip_directory import LOCAL, ArchiveMember, BadArchive, member_start, members_in
from lineage.crawler.headers import TensorHeader
from lineage.crawler.selection import WeightSet
from lineage.crawler.weights import WeightFile
from lineage.graphdb.schema import Failure

INFLATED_LIMIT_BYTES = 64 << 20  # of all deflated weight files of one archive
INSIDE: tuple[Format, ...] = (Safetensors(), TorchZip())
UNPACK = "unpack it, and name the file in it that is the model"
_STORED, _DEFLATED, _ENCRYPTED = 0, 8, 1
_DATA = re.compile(
    r"(train_eval_metrics|datasets?|data|images|train|test|val(idation)?|logs?|runs|results|code|src|.*[._-]dataset)",
    re.IGNORECASE,
)
_DESCRIPTION = "data.pkl"  # the archive itself is what PyTorch saved


class ZipArchive(Format):
    """Zip archives that hold one model's weight files, whatever they are called: of `.tar` those that are zip archives."""

    kind = "zip"
    suffixes = (".zip", ".tar")

    def sets(self, paths: Collection[str]) -> list[WeightSet]:
        """As every format, without what by its name is data."""
        return [found for found in super().sets(paths) if not _DATA.fullmatch(found.stem)]

    def holds_model(self, file: WeightFile) -> bool:
        """Whether there are weight files in it, by its directory."""
        try:
            return file.read(0, min(len(LOCAL), file.size_bytes)) == LOCAL and bool(_weight_files(_members(file)))
        except Failure:
            return False

    def open(self, files: Sequence[WeightFile], how: Opening) -> Readable:
        return ArchiveWeights(files, how)


class ArchiveWeights:
    """Header and ranges of the one model in an archive."""

    def __init__(self, archives: Sequence[WeightFile], how: Opening):
        self._archives = archives
        self._how = how

    @cached_property
    def _inner(self) -> Readable:
        """
        Raises:
            BadArchive: not one archive, or none or several models in it.
        """
        archive = self._archives[0]
        members = _members(archive)
        if len(self._archives) > 1:
            raise BadArchive(archive.name, "an archive in several parts", UNPACK)
        if any(name.rpartition("/")[2] == _DESCRIPTION for name in members):
            return TorchZip().open([archive], self._how)
        names = _weight_files(members)
        top = commonpath([name.rpartition("/")[0] for name in names]) if names else ""
        inside = {name.removeprefix(f"{top}/"): name for name in names}
        for form in INSIDE:
            choice = form.choose(list(inside))
            if choice is not None and choice.weights is not None and choice.weights.files:
                files = [MemberFile(archive, members[inside[name]]) for name in choice.weights.files]
                if sum(file.size_bytes for file in files if file.deflated) > INFLATED_LIMIT_BYTES:
                    raise BadArchive(
                        archive.name,
                        f"its weights are compressed and more than {INFLATED_LIMIT_BYTES >> 20} MiB",
                        UNPACK,
                    )
                return form.open(files, self._how)
        if not names:
            raise BadArchive(archive.name, "a zip archive without weight files that are read", "name another file")
        shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
        raise BadArchive(
            archive.name, f"several weight files in one archive, which has to be unpacked: {shown}", UNPACK
        )

    @property
    def header(self) -> tuple[TensorHeader, ...]:
        return self._inner.header

    def read(self, blocks: Iterable[Any]) -> Iterator[tuple[Any, bytes]]:
        return self._inner.read(blocks)

    @property
    def bases(self) -> Sequence[tuple[str, str | None, str]]:
        return self._inner.bases

    @property
    def quantization(self) -> str | None:
        return self._inner.quantization


class MemberFile:
    """One member of an archive as a file of weights."""

    def __init__(self, archive: WeightFile, member: ArchiveMember):
        self.name = f"{archive.name}/{member.name}"
        self.deflated = member.method == _DEFLATED
        self._archive = archive
        self._member = member
        if member.flags & _ENCRYPTED or member.method not in (_STORED, _DEFLATED):
            raise BadArchive(
                archive.name, f"its member {member.name[:80]!r} is encrypted or packed in another way", UNPACK
            )

    @property
    def size_bytes(self) -> int:
        return self._member.size

    def read(self, start: int, stop: int) -> bytes:
        if self.deflated:
            return self._inflated[start:stop]
        return self._archive.read(self._start + start, self._start + stop)

    @cached_property
    def _start(self) -> int:
        return member_start(self._archive.read, self._archive.name, self._member)

    @cached_property
    def _inflated(self) -> bytes:
        packed = self._archive.read(self._start, self._start + self._member.packed_size)
        try:
            found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, self._member.size + 1)
        except zlib.error:
            found = b""
        if len(found) != self._member.size or zlib.crc32(found) != self._member.crc:
            raise BadArchive(self._archive.name, f"its member {self._member.name[:80]!r} is damaged")
        return found


def _members(archive: WeightFile) -> dict[str, ArchiveMember]:
    members = members_in(archive.read, archive.name, archive.size_bytes)
    if members is None:
        raise BadArchive(archive.name, "not a zip archive", "name a file that holds weights")
    return members


def _weight_files(members: Collection[str]) -> list[str]:
    """Of an archive's members those that a format reads, without what trainers leave beside a model."""
    kept = [name for name in members if not name.startswith("__MACOSX/")]
    if any(name.rpartition("/")[2] == _DESCRIPTION for name in kept):
        return [name for name in kept if name.endswith(_DESCRIPTION)]
    return sorted(set(chain.from_iterable(found.files for form in INSIDE for found in form.sets(kept))))
