"""What a crawl would cost, before it reads anything: the pages that it would walk, and an estimate for each repository.

Nothing is written: neither the cursor moves nor does anything get into the line.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lineage.crawler.budget import BudgetSpent
from lineage.crawler.folder import local_models
from lineage.crawler.formats.registry import choose_model
from lineage.crawler.hub import Hub
from lineage.crawler.listing import Repository
from lineage.crawler.pipeline_components import parts_of
from lineage.crawler.priority import has_weights, priority_of
from lineage.crawler.progress import Progress
from lineage.crawler.selection import Layout
from lineage.crawler.visit import WeightReader, is_settled
from lineage.crawler.walk import CrawlOptions, utc_now, walk_listing
from lineage.graphdb.schema import counted

SLICES_PER_MODEL = (
    12  # of an 8B language model, see bench/bytes_per_model.py; smaller models have fewer bytes, not fewer slices
)
SLICE_BYTES = 800_000
WHOLE_BYTES = 1_000_000  # weights of at most this size are read in one slice
FIRST_SHOWN = 10
WINDOW_SECONDS = 300.0


@dataclass(slots=True)
class CrawlPlan:
    """What a crawl would do and cost.

    Attributes:
        seen: models in the listing that was walked; settled: nothing to be asked; unreadable: no weights, nothing to be asked.
        pages: requests that the listing has cost.
        requests: estimate of those to come, by the Hub's quota: `api`, `resolvers`, and `storage`, which is not counted.
        body_bytes: estimate, from storage.
        disk_bytes: of the weight files of a folder, which are read to their end for their hash.
        first: (priority, name) of those that would be read first.
        stopped: why the listing was not walked to its end.
    """

    seen: int = 0
    settled: int = 0
    unreadable: int = 0
    to_read: int = 0
    waiting: int = 0
    pages: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    body_bytes: int = 0
    disk_bytes: int = 0
    first: list[tuple[float, str]] = field(default_factory=list)
    stopped: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return {
            "seen": self.seen,
            "settled": self.settled,
            "unreadable": self.unreadable,
            "to_read": self.to_read,
            "waiting": self.waiting,
            "pages": self.pages,
            "requests": dict(self.requests),
            "bytes": self.body_bytes,
            "disk_bytes": self.disk_bytes,
            "first": [{"repo_id": name, "priority": round(priority, 2)} for priority, name in self.first],
            "stopped": self.stopped,
        }


def plan_crawl(
    options: CrawlOptions,
    reader: WeightReader,
    progress: Progress,
    hub: Hub,
    now: Callable[[], datetime] = utc_now,
) -> CrawlPlan:
    """
    Raises:
        HubFailure: the listing cannot be walked.
    """
    plan, shapes = CrawlPlan(), set[str]()
    if options.has_budget:
        hub.limit(options.max_requests, options.max_bytes, options.max_minutes)
    plan.waiting = progress.waits(options.walk_key(hub.endpoint))
    try:
        for page in walk_listing(hub, options, progress, now):
            plan.pages += 1
            known = progress.known(repository.hub_id for repository in page.repositories)
            for repository in page.repositories:
                plan.seen += 1
                done = known.get(repository.hub_id)
                if done is not None and is_settled(repository, done, reader, hub.has_token, now()):
                    plan.settled += 1
                elif not has_weights(repository):
                    plan.unreadable += 1
                else:
                    new_shape = repository.shape is not None and repository.shape not in shapes
                    shapes |= {repository.shape} if repository.shape else set()
                    entry = (priority_of(repository, new_shape), repository.repo_id)
                    (heapq.heappushpop if len(plan.first) >= FIRST_SHOWN else heapq.heappush)(plan.first, entry)
                    _add_cost(plan, repository)
    except BudgetSpent as spent:
        plan.stopped = spent.message
    plan.first.sort(reverse=True)
    return plan


def plan_folder(folder: Path) -> CrawlPlan:
    """What a crawl of a folder would read.

    Raises:
        NoSuchModel: there is nothing at this path.
    """
    plan = CrawlPlan()
    for model in local_models(folder):
        plan.seen += 1
        plan.to_read += bool(model.files)
        plan.unreadable += not model.files
        plan.disk_bytes += sum(file.stat().st_size for file in model.files)
    return plan


def _add_cost(plan: CrawlPlan, repository: Repository) -> None:
    """At most what reading one repository costs, if none of its files is known by its hash."""
    plan.to_read += 1
    if repository.files is None:
        plan.requests["api"] += 1
        return
    for files in parts_of(repository.files).values() or (repository.files,):
        _add_cost_of(plan, files, repository.gated, repository.weights_bytes)


def _add_cost_of(plan: CrawlPlan, files: tuple[str, ...], gated: bool, weights_bytes: int | None) -> None:
    form, choice = choose_model(files)
    if choice.adapter:
        plan.requests["resolvers"] += 1 + (choice.weights is not None)
        plan.requests["storage"] += choice.weights is not None
        plan.body_bytes += form.header_bytes if choice.weights is not None else 0
    elif choice.weights is not None and not choice.weights.missing:
        count = max(1, len(choice.weights.files))
        plan.requests["api"] += count > 1 or choice.weights.layout is Layout.INDEXED
        plan.requests["resolvers"] += count + (choice.weights.layout is Layout.INDEXED)
        if not gated:
            small = weights_bytes is not None and weights_bytes <= WHOLE_BYTES
            plan.requests["storage"] += count * form.header_requests + (count if small else SLICES_PER_MODEL)
            plan.body_bytes += weights_bytes if small and weights_bytes else form.header_bytes + SLICE_BYTES


def plan_text(plan: CrawlPlan) -> str:
    """For people."""
    if not plan.pages:
        return (
            f"{counted(plan.seen, 'model')} on disk: {plan.to_read} to read, {plan.unreadable} not readable\n"
            f"no request; {plan.disk_bytes / 1e6:.1f} MB to read from the disk, less where files are unchanged"
        )
    lines = [
        f"{counted(plan.seen, 'model')} listed on {counted(plan.pages, 'page')}: "
        f"{plan.settled} known, {plan.unreadable} without weights to read",
        f"{plan.to_read} to read: {counted(plan.requests['api'], 'request')} to the API, {plan.requests['resolvers']} to resolve files, "
        f"{plan.requests['storage']} to the storage, about {plan.body_bytes / 1e6:.1f} MB",
    ]
    lines += [f"{plan.waiting} waiting from earlier crawls"] if plan.waiting else []
    lines += [f"the listing was left: {plan.stopped}"] if plan.stopped else []
    if plan.first:
        lines.append("priority, highest first (the order under a budget):")
        lines += [f"  {priority:6.1f}  {name}" for priority, name in plan.first]
    return "\n".join(lines)
