"""What a crawl did, for people, for programs, and for the graph's record of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lineage.graphdb.schema import counted, printable

if TYPE_CHECKING:
    from lineage.crawler.batch import RepoFailure
    from lineage.crawler.hub import Hub


@dataclass(slots=True)
class CrawlSummary:
    """What one crawl did. `counts` as in crawler.batch.Batch; `requests` and `body_bytes` by kind of request.
    `stopped` says why the crawl ended early, if its budget or a signal ended it."""

    started_at: datetime
    finished_at: datetime | None = None
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    first_failures: list[RepoFailure] = field(default_factory=list)
    declarations: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    body_bytes: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def seconds(self) -> float:
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @classmethod
    def begun(cls) -> CrawlSummary:
        return cls(datetime.now(UTC))

    def end(self, hub: Hub | None) -> None:
        """What was asked in all, and when."""
        self.count_traffic(hub)
        self.finished_at = datetime.now(UTC)

    @contextmanager
    def kept_in(self, record: dict[str, Any], name: str | None = None) -> Iterator[None]:
        """At the end, however it ends, the summary is in the record, or under a name in it."""
        try:
            yield
        finally:
            record.update({name: self.as_dict()} if name else self.as_dict())

    def count_traffic(self, hub: Hub | None) -> None:
        """What was asked so far."""
        if hub is not None:
            traffic = hub.traffic.summary()
            self.requests, self.body_bytes = traffic["requests"], traffic["bytes"]

    @property
    def nothing_read(self) -> bool:
        """Whether there were failures and not one model could be read, now or before."""
        of_files = Counter(
            {kind: n for kind, n in self.failures.items() if kind not in ("GatedRepository", "DisabledRepository")}
        )
        known = any(self.counts[kind] for kind in ("sketched", "read", "reused", "unchanged", "waiting"))
        return not known and of_files.total() > 0 and of_files.total() >= self.counts["adapter"]

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return {
            "models": dict(sorted(self.counts.items())),
            "declarations": self.declarations,
            "failures": dict(self.failures),
            "failed": [{"repo_id": f.repo_id, "kind": f.kind, "message": f.message} for f in self.first_failures],
            "requests": self.requests,
            "bytes": self.body_bytes,
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
        }


def summary_text(summary: CrawlSummary) -> str:
    """The summary for people, a few lines."""
    counts = summary.counts
    if not counts["seen"] and not summary.failures and not summary.stopped:
        return "no model was listed: nothing matches what was asked for"
    others = "".join(
        f", {counts[status]} {status}" for status in ("unreadable", "gated", "adapter", "gone") if counts[status]
    )
    several = f", {counts['several']} with several models in each" if counts["several"] else ""
    again = f", {counts['again']} read again" if counts["again"] else ""
    rest = counts["seen"] - sum(counts[kind] for kind in ("new", "changed", "unchanged", "again", "waiting"))
    absent = f", {rest} no longer listed" if rest > 0 else ""
    kinds = f"{counts['new']} new, {counts['changed']} changed, {counts['unchanged']} unchanged{again}{absent}"
    lines = [
        f"{counted(counts['seen'], 'model')} seen: {kinds}",
        f"{counts['sketched']} readable{others}{several}",
        f"{counts['read']} downloaded, {counts['reused']} reused (same file hash)",
        f"{counted(sum(summary.requests.values()), 'request')}, {sum(summary.body_bytes.values()) / 1e6:.1f} MB, "
        f"{summary.seconds:.1f} s",
    ]
    if counts["malformed"]:
        lines.append(f"{counts['malformed']} listed without a name that a repository can have: left out")
    if counts["waiting"]:
        lines.append(f"{counts['waiting']} waiting for the budget of a later pass, the most useful first")
    if summary.stopped:
        lines.append(f"stopped: {summary.stopped}; the next crawl goes on from here")
    if summary.failures:
        lines.append("not read: " + ", ".join(f"{n} {kind}" for kind, n in summary.failures.most_common()))
        lines += [printable(f"  {failure.repo_id}: {failure.message}") for failure in summary.first_failures[:5]]
    return "\n".join(lines)
