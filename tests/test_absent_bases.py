"""Cards that name one base that is nowhere to be found: deleted, renamed, gated, or never crawled."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import save_file

from lineage.architecture import absent_base
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.options import Options
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.store import open_store
from tests.builders import start, tune


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ("Org/Gone", "absent:org/gone"),
        ("org/own", None),
        ("./outputs/base", None),
        ("../base", None),
        ("/data/base", None),
        ("~/base", None),
        ("base", None),
        ("org/", None),
        ("", None),
    ],
)
def test_only_a_name_of_another_repository_is_a_base_that_siblings_may_share(base: str, named: str | None) -> None:
    assert absent_base(base, "Org/own") == named


@pytest.mark.slow
@pytest.mark.parametrize(("card", "parents"), [("", 4), ("---\nbase_model: org/gone\n---\n", 0)])
def test_models_whose_cards_name_one_absent_base_are_none_of_each_other_in_the_graph(
    card: str, parents: int, tmp_path: Path
) -> None:
    """One moved next to nothing, so that it looks like the parent of the others."""
    base = start(1)
    for i in range(5):
        folder = tmp_path / "models" / f"t{i}"
        folder.mkdir(parents=True)
        save_file(tune(base, 10 + i, 0.01 if i == 0 else 0.3), folder / "model.safetensors")
        (folder / "README.md").write_text(card)
    with open_store(str(tmp_path / "home")) as graph:
        sketches = SketchStore(tmp_path / "home" / "sketches")
        crawl_into(graph, sketches, tmp_path / "home" / "progress.sqlite", CrawlOptions(folder=tmp_path / "models"))
        assert detect_into(graph, sketches, Options(), "run")["parents"] == parents
