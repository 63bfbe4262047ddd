"""An answer's version says which detection made it: code, weights, options, and the content of files that options name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lineage.detect import method_version as module
from lineage.detect.method_version import method_version
from lineage.detect.methods.registry import METHODS
from lineage.detect.options import Options
from lineage.detect.pipeline import METHOD_VERSION
from lineage.graphdb.schema import Verdict
from lineage.graphdb.store import open_store

ANSWERS = Path(__file__).parent / "answers.json"


def test_every_method_has_a_version_of_its_own() -> None:
    versions = [method_version(method.name) for method in METHODS if method.needs != "outputs"]
    assert len(set(versions)) == len(versions)
    assert method_version("lineage").startswith(f"{METHOD_VERSION}-")


def test_other_weights_or_options_are_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = method_version("lineage")
    monkeypatch.setattr(module, "_shipped_weights", lambda: b"other weights")
    assert method_version("lineage") != before
    assert method_version("nearest", {"k": "1"}) != method_version("nearest", {"k": "2"})


def test_a_network_trained_anew_at_the_same_path_is_another_version_and_decides_again(tmp_path: Path) -> None:
    from lineage.architecture import ArchitectureModels

    network = tmp_path / "detector.safetensors"
    network.write_bytes(b"first")
    options = Options(method="np-detector", settings={"detector": str(network)})
    known = ArchitectureModels([], {}, (), frozenset())
    version, digest = method_version(options.method, options.settings), known.digest(options)
    assert (version, digest) == (method_version(options.method, options.settings), known.digest(options))
    network.write_bytes(b"trained anew")
    assert method_version(options.method, options.settings) != version and known.digest(options) != digest


def test_edges_say_which_method_made_them(tmp_path: Path) -> None:
    from lineage.detect.decision import AnswerKind, Candidate, Decision
    from lineage.detect.reasons import Reason
    from lineage.detection import as_edges
    from lineage.graphdb.schema import Relation
    from tests.graphs import a_model

    decision = Decision(
        "id-b",
        AnswerKind.PARENT,
        0.9,
        "id-a",
        Relation.FINE_TUNED_FROM,
        (Candidate("id-a", 0.9),),
        reason=Reason("alone"),
    )
    for method in ("lineage", "nearest"):
        edges, verdicts = as_edges([decision], Options(method=method))
        assert edges[0].method == method and edges[0].method_version == method_version(method)
    with open_store(str(tmp_path)) as graph:
        graph.upsert_models([a_model("a"), a_model("b")])
        graph.replace_edges(["id-b"], edges, verdicts, "run")
        assert verdicts == [Verdict("id-b", "parent", "alone", 0.9, {})]


def test_other_answers_need_another_version() -> None:
    """Answers on a fixed family are kept beside the version that gave them: `python -m tests.detect.kept_answers` keeps them anew."""
    from tests.detect.kept_answers import answers

    kept = json.loads(ANSWERS.read_text(encoding="utf-8"))
    digest = hashlib.sha256(json.dumps(answers(), sort_keys=True).encode()).hexdigest()
    if kept["version"] == METHOD_VERSION:
        assert digest == kept["sha256"], (
            "answers changed: raise METHOD_VERSION in detect/pipeline.py, then keep them anew"
        )
    assert kept["version"] == METHOD_VERSION, "keep the answers of this version: python -m tests.detect.kept_answers"
