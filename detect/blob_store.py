"""Where files of samples lie: a folder on this disk, or any address that `fsspec` knows (`s3://…`, `gs://…`, `file://…`).

Names are relative, with `/` between their parts. A file is written whole or not at all, and is never changed afterwards; on this
disk it is flushed before it gets its name, elsewhere the service sees to that.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from lineage.graphdb.schema import Failure, home_path, without_password

_FLAT = frozenset({"s3", "gs", "gcs", "az", "abfs", "oss", "oci"})  # no folders there, and buckets are not ours to make


class BlobStoreError(Failure):
    """An address of samples that cannot be used."""


class BlobStore(Protocol):
    """What is needed of a folder or an address. What is not there raises FileNotFoundError, other trouble OSError or Failure."""

    address: str

    def names(self, folder: str = "") -> list[str]:
        """Of all files under a folder, sorted; empty where there is no such folder."""

    def has(self, name: str) -> bool: ...
    def read(self, name: str) -> bytes: ...

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes [start, stop) of one file, each."""

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Whole or not at all, and its content on disk when this returns; its name, once `flush` or the next commit made it so."""

    def flush(self, folder: str) -> None:
        """The names in a folder are on disk when this returns."""

    def remove(self, name: str) -> None:
        """Also where it is gone already."""


class LocalBlobs:
    """On this disk."""

    def __init__(self, path: Path):
        self.path = path
        self.address = str(path)

    def names(self, folder: str = "") -> list[str]:
        found = []
        for place, _, files in os.walk(self.path / folder):
            here = Path(place).relative_to(self.path)
            found += [(here / file).as_posix() for file in files if not file.endswith(".part")]
        return sorted(found)

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        with (self.path / name).open("rb", buffering=0) as file:
            return [os.pread(file.fileno(), stop - start, start) for start, stop in spans]

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def flush(self, folder: str) -> None:
        with contextlib.suppress(OSError):  # not every file system can
            handle = os.open(self.path / folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)


class FsspecBlobs:
    """Elsewhere, through fsspec; keys and regions come from that service's own settings and variables.

    Raises:
        BlobStoreError: no such protocol, or the package for it is not installed.
    """

    def __init__(self, url: str):
        import fsspec

        self.address = url.rstrip("/")
        try:
            filesystem, root = fsspec.core.url_to_fs(self.address)
        except ValueError as error:
            raise BlobStoreError(
                f"{without_password(url)}: {_without_user(str(error), url)}",
                "a folder, or an address like s3://bucket/folder",
            ) from None
        except ImportError as error:
            raise BlobStoreError(
                f"{url}: {error}", "pip install s3fs for s3://, gcsfs for gs://, adlfs for az://"
            ) from None
        self._fs: Any = filesystem
        self._root = root.rstrip("/")
        protocol = filesystem.protocol
        self._flat = not _FLAT.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    def names(self, folder: str = "") -> list[str]:
        self._fs.invalidate_cache()  # other machines write here as well
        with _one_line(self.address):
            try:
                found = self._fs.find(self._at(folder))
            except FileNotFoundError:
                return []
        return sorted(path[len(self._root) :].lstrip("/") for path in found if not path.endswith(".part"))

    def has(self, name: str) -> bool:
        with _one_line(self.address):
            return bool(self._fs.isfile(self._at(name)))

    def read(self, name: str) -> bytes:
        with _one_line(self.address):
            return bytes(self._fs.cat_file(self._at(name)))

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        if not spans:
            return []
        with _one_line(self.address):
            starts, stops = ([span[i] for span in spans] for i in (0, 1))
            return list(self._fs.cat_ranges([self._at(name)] * len(spans), starts, stops, on_error="raise"))

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        path, content = self._at(name), b"".join(parts)
        with _one_line(self.address, also_missing=True):
            if not self._flat:
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, content)

    def flush(self, folder: str) -> None:
        """What such a service has accepted, it has."""

    def remove(self, name: str) -> None:
        with _one_line(self.address), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


def open_blob_store(where: Path | str) -> BlobStore:
    """A folder, also as `file://…`; or an address, where there is `://` in it."""
    if isinstance(where, str) and "://" in where and not where.startswith("file://"):
        return FsspecBlobs(where)
    return LocalBlobs(home_path(str(where).removeprefix("file://")))


@contextlib.contextmanager
def _one_line(address: str, also_missing: bool = False) -> Iterator[None]:
    """Errors of services we do not know -> one line; what is not there stays a FileNotFoundError, if not `also_missing`."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not also_missing:
            raise
        why = _without_user(" ".join(str(error).split()), address)[:200] or type(error).__name__
        shown = without_password(address)
        raise BlobStoreError(f"{shown} cannot be used: {why}", "check the address, and the keys to it") from error


def _without_user(text: str, address: str) -> str:
    """A message of a service that may repeat the user and the password of an address."""
    user, at, _ = address.partition("://")[2].rpartition("@")
    return text.replace(address, without_password(address)).replace(user + at, "") if user else text
