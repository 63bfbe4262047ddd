"""Files on the Hub, read by ranges."""

from __future__ import annotations

from threading import Lock

from lineage.crawler.headers import FIRST_READ_BYTES
from lineage.crawler.hub import FileEntry, Hub, RangeRefused, SignatureExpired


class RemoteFile:
    """A file on the Hub. Resolved once, when first needed, and again only when its signed address has expired.

    Args:
        entry: size and hash, where they are known already; what the Hub then sends must agree.
    """

    def __init__(self, hub: Hub, repo_id: str, revision: str, name: str, entry: FileEntry | None = None):
        self.name = name
        self._hub, self._repo_id, self._revision = hub, repo_id, revision
        self._entry = entry or FileEntry(name, None, None)
        self._address: str | None = None
        self._etag: str | None = None
        self._head = b""
        self._lock = Lock()

    @property
    def content_hash(self) -> str:
        """sha256 of the whole file as the Hub states it, or `git:` and git's hash. May cost the one resolve."""
        if self._entry.sha256 is None and self._entry.git_oid is None:
            self._resolve(None)
        if self._entry.sha256 is not None:
            return self._entry.sha256
        if self._entry.git_oid is None:
            raise RangeRefused(f"{self._repo_id}: the Hub gives no hash for {self.name}", None, self._repo_id)
        return f"git:{self._entry.git_oid}"

    @property
    def size_bytes(self) -> int:
        if self._entry.size_bytes is None:
            self._resolve(None)
        if self._entry.size_bytes is None:
            self._range(0, 1)
        return self._entry.size_bytes or 0

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop).

        Raises:
            RangeRefused: the storage does not send exactly these, or the file is no longer the same.
        """
        held = self._head[start:stop]  # what came with the header is not asked for again
        if len(held) == stop - start:
            return held
        data = held + self._range(start + len(held), stop)
        if start == 0 and stop <= FIRST_READ_BYTES:
            self._head = data
        return data

    def _range(self, start: int, stop: int) -> bytes:
        address = self._address or self._resolve(None)
        try:
            data, etag, total = self._hub.read_range(address, start, stop, self._entry.size_bytes, self._repo_id)
        except SignatureExpired:
            address = self._resolve(address)
            data, etag, total = self._hub.read_range(address, start, stop, self._entry.size_bytes, self._repo_id)
        with self._lock:
            if self._etag is None:
                self._etag = etag
            if etag != self._etag:
                raise RangeRefused(
                    f"{self.name} of {self._repo_id} changed while it was read", "try again", self._repo_id
                )
            if self._entry.size_bytes is None:
                self._entry = FileEntry(self.name, total, self._entry.sha256, self._entry.git_oid)
        return data

    def _resolve(self, expired: str | None) -> str:
        """An address other than the expired one."""
        with self._lock:
            if self._address is not None and self._address != expired:
                return self._address
            resolved = self._hub.resolve(self._repo_id, self._revision, self.name)
            known, found = self._entry, resolved.file
            for before, now in ((known.size_bytes, found.size_bytes), (known.sha256, found.sha256)):
                if before is not None and now is not None and before != now:
                    raise RangeRefused(
                        f"{self.name} of {self._repo_id} is not what was listed", "try again", self._repo_id
                    )
            self._entry = FileEntry(
                self.name,
                known.size_bytes if known.size_bytes is not None else found.size_bytes,
                known.sha256 or found.sha256,
                known.git_oid or found.git_oid,
            )
            self._address = resolved.url
            return resolved.url
