"""Faults that can be switched on, each for some kind of request, a number of times or until it is cleared.

Use as `hub.faults.ignore_range()` or, to end it, `with hub.faults.ignore_range(): ...`. Every method takes

    kind: `list`, `info`, `tree`, `resolve`, `cdn`, `other` or `any`;
    times: how many requests it strikes; None for all until it is cleared;
    match: it strikes only requests whose path and query contain this text;
    skip: it leaves the first so many matching requests alone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack


class When(TypedDict, total=False):
    """Which requests a fault strikes, see above."""

    kind: str
    times: int | None
    match: str
    skip: int


@dataclass(eq=False)
class Fault:
    """One fault that is on; `struck` counts the requests that it has spoiled, `ended` says that it was cleared."""

    name: str
    kind: str
    times: int | None
    match: str
    skip: int
    settings: Mapping[str, Any]
    owner: Faults
    struck: int = field(default=0)
    ended: threading.Event = field(default_factory=threading.Event)

    def clear(self) -> None:
        self.owner.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()


class Faults:
    """The faults that are on. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[Fault] = []

    # --- any answer -------------------------------------------------------------------------------------------------

    def status(
        self,
        status: int,
        *,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        **when: Unpack[When],
    ) -> Fault:
        """Answer with this status and nothing that the Hub adds: what an overloaded edge does (429, 500, 503, 504)."""
        return self._add("status", when, "any", status=status, headers=headers or {}, body=body)

    def drop_connection(self, **when: Unpack[When]) -> Fault:
        """Close the connection without an answer."""
        return self._add("drop_connection", when, "any")

    def slow(self, seconds: float, **when: Unpack[When]) -> Fault:
        """Wait before the answer; when the fault is cleared, those that wait are answered."""
        return self._add("slow", when, "any", seconds=seconds)

    def redirect_to(self, location: str, *, status: int = 302, **when: Unpack[When]) -> Fault:
        """Send the client somewhere else."""
        return self._add("redirect_to", when, "any", location=location, status=status)

    def replace_json(self, value: Any, **when: Unpack[When]) -> Fault:
        """Answer 200 with this JSON: an object where a list belongs, an empty list, null."""
        return self._add("replace_json", when, "info", value=value)

    # --- bytes of files ---------------------------------------------------------------------------------------------

    def ignore_range(self, **when: Unpack[When]) -> Fault:
        """Answer a ranged read with 200 and the whole file."""
        return self._add("ignore_range", when, "cdn")

    def cut_after_bytes(self, count: int, **when: Unpack[When]) -> Fault:
        """Promise the whole body, send `count` bytes of it, close the connection."""
        return self._add("cut_after_bytes", when, "cdn", count=count)

    def wrong_content_range(self, shift: int = 1, **when: Unpack[When]) -> Fault:
        """Say in Content-Range that the bytes begin `shift` later than they do."""
        return self._add("wrong_content_range", when, "cdn", shift=shift)

    def short_body(self, missing: int = 1, **when: Unpack[When]) -> Fault:
        """A sound answer by its headers' own count, but with fewer bytes than were asked for."""
        return self._add("short_body", when, "cdn", missing=missing)

    def gzip_body(self, **when: Unpack[When]) -> Fault:
        """Compress the body whatever the client accepts."""
        return self._add("gzip_body", when, "cdn")

    def endless_body(self, limit_bytes: int = 1 << 30, **when: Unpack[When]) -> Fault:
        """A chunked body without end (up to a limit that protects the machine)."""
        return self._add("endless_body", when, "cdn", limit_bytes=limit_bytes)

    def trickle(self, bytes_per_second: int, **when: Unpack[When]) -> Fault:
        """Send the body slowly, a little every tenth of a second."""
        return self._add("trickle", when, "cdn", bytes_per_second=bytes_per_second)

    def other_bytes(self, **when: Unpack[When]) -> Fault:
        """Right headers, wrong content: every byte of the body is inverted."""
        return self._add("other_bytes", when, "cdn")

    # --- pages ------------------------------------------------------------------------------------------------------

    def loop_cursor(self, **when: Unpack[When]) -> Fault:
        """The link to the next page leads to the same page, for ever."""
        return self._add("loop_cursor", when, "list")

    def repeat_page(self, **when: Unpack[When]) -> Fault:
        """The page repeats the items that the previous page of the same walk had."""
        return self._add("repeat_page", when, "list")

    def malformed_item(self, item: Any, **when: Unpack[When]) -> Fault:
        """Put this in front of the items of the page."""
        return self._add("malformed_item", when, "list", item=item)

    # ----------------------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            for fault in self._active:
                fault.ended.set()
            self._active.clear()

    def remove(self, fault: Fault) -> None:
        with self._lock:
            fault.ended.set()
            if fault in self._active:
                self._active.remove(fault)

    def strike(self, kind: str, target: str) -> dict[str, Fault]:
        """The faults that spoil this request, by name; counts it off those that strike a number of times."""
        with self._lock:
            struck: dict[str, Fault] = {}
            for fault in list(self._active):
                if fault.kind not in (kind, "any") or fault.match not in target or fault.name in struck:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                struck[fault.name] = fault
                fault.struck += 1
                if fault.times is not None and fault.struck >= fault.times:
                    self._active.remove(fault)
            return struck

    def _add(self, name: str, when: When, kind: str, **settings: Any) -> Fault:
        fault = Fault(
            name=name,
            kind=when.get("kind", kind),
            times=when.get("times"),
            match=when.get("match", ""),
            skip=when.get("skip", 0),
            settings=settings,
            owner=self,
        )
        with self._lock:
            self._active.append(fault)
        return fault
