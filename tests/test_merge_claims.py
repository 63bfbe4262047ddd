"""What the recipe of a merge claims, beside what the weights show; recipes in circles, of oneself and of 50 MB lose nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import lineage
from lineage.commands import main
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.options import Options
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.store import Store, open_store
from lineage.queries.claim_check import compare
from tests.builders import Weights, start, tune

SLERP = "slices:\n- sources:\n  - model: {first}\n  - model: {second}\nmerge_method: slerp\nbase_model: {first}\n"


def spherical(one: Weights, other: Weights, t: float) -> Weights:
    """As mergekit's SLERP: along the arc between two tensors."""
    found = {}
    for name, first in one.items():
        second = other[name]
        cosine = float((first * second).sum() / np.linalg.norm(first) / np.linalg.norm(second))
        angle = np.arccos(np.clip(cosine, -1, 1))
        mixed = (np.sin((1 - t) * angle) * first + np.sin(t * angle) * second) / np.sin(angle)
        found[name] = mixed.astype(np.float32)
    return found


def family(folder: Path) -> None:
    base = start(5)
    models = {"base": base} | {f"t{i}": tune(base, 40 + i, 0.2, decay=0.0) for i in range(4)}
    models["honest"] = spherical(models["t0"], models["t1"], 0.4)
    models["liar"] = spherical(models["t2"], models["t3"], 0.6)
    for name, weights in models.items():
        (folder / name).mkdir(parents=True)
        save_file(weights, folder / name / "model.safetensors")
    (folder / "honest" / "mergekit_config.yml").write_text(SLERP.format(first="t0", second="t1"))
    (folder / "liar" / "mergekit_config.yml").write_text(SLERP.format(first="t0", second="t1"))


def crawled(folder: Path, home: Path) -> Store:
    graph = open_store(str(home)).__enter__()
    sketches = SketchStore(home / "sketches")
    crawl_into(graph, sketches, home / "progress.sqlite", CrawlOptions(folder=folder))
    detect_into(graph, sketches, Options(), "run")
    return graph


@pytest.mark.slow
def test_an_honest_recipe_of_slerp_agrees_and_a_false_one_is_contradicted(tmp_path: Path) -> None:
    family(tmp_path / "models")
    graph = crawled(tmp_path / "models", tmp_path / "home")
    try:
        said = {name: graph.model(name) for name in ("honest", "liar")}
        judged = {name: str(next(iter(compare(graph, [m.hub_id]))).agreement) for name, m in said.items() if m}
    finally:
        graph.connection.close()
    assert judged == {"honest": "agree", "liar": "contradicts"}


@pytest.mark.slow
@pytest.mark.parametrize("road", ["scan", "sync"])
def test_recipes_that_name_themselves_or_each_other_or_are_enormous_lose_nothing(road: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    family(folder)
    (folder / "honest" / "mergekit_config.yml").write_text(SLERP.format(first="liar", second="honest"))
    (folder / "liar" / "mergekit_config.yml").write_text(SLERP.format(first="honest", second="honest"))
    (folder / "base" / "mergekit_config.yml").write_text("models:\n" + "- model: t0\n" * 5_000_000)
    (folder / "base" / "config.json").write_text('{"a": "' + "x" * 50_000_000 + '"}')
    if road == "scan":
        found = lineage.scan(folder)
        assert {parent.repo_id for parent in found["honest"].parents} == {"t0", "t1"}
        assert not found.unreadable
    else:
        with pytest.raises(SystemExit) as ended:
            main(["sync", "--folder", str(folder), "--store", str(tmp_path / "home")])
        assert ended.value.code == 0
