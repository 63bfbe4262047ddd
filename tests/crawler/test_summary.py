"""The summary of a crawl for people: its counts add up."""

from __future__ import annotations

from collections import Counter

import pytest

from lineage.crawler.summary import CrawlSummary, summary_text


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"seen": 8, "again": 8}, "8 models seen: 0 new, 0 changed, 0 unchanged, 8 read again"),
        ({"seen": 5, "unchanged": 4, "gone": 1}, "5 models seen: 0 new, 0 changed, 4 unchanged, 1 no longer listed"),
        ({"seen": 3, "new": 2, "waiting": 1}, "3 models seen: 2 new, 0 changed, 0 unchanged"),
    ],
)
def test_what_became_of_the_models_adds_up(counts: dict[str, int], line: str) -> None:
    summary = CrawlSummary.begun()
    summary.counts = Counter(counts)
    assert summary_text(summary).splitlines()[0] == line


def test_items_without_a_valid_name_are_counted() -> None:
    summary = CrawlSummary.begun()
    summary.counts = Counter({"seen": 1, "new": 1, "malformed": 3})
    assert "3 listed without a name that a repository can have: left out" in summary_text(summary)
