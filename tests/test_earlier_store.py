"""A graph and sketches that an earlier version wrote are opened, brought up to date and answered from."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from lineage.commands import main
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import SCHEMA_VERSION
from lineage.graphdb.store import open_store

ARCHIVE = Path(__file__).parent / "data" / "store_of_schema_2.tar.xz"


@pytest.fixture
def store(tmp_path: Path) -> str:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return str(tmp_path / "store")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0), capsys.readouterr().out


def test_an_earlier_graph_answers_and_its_schema_is_brought_up_to_date(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = asked(capsys, "who-is-parent", "acme/ba", "--store", store, "--json")
    assert code == 0 and json.loads(out)["parent"] == "acme/b"
    code, out = asked(capsys, "ancestors", "acme/ba", "--store", store, "--json")
    assert [row["repo_id"] for row in json.loads(out)] == ["acme/b", "acme/a"]
    with open_store(store) as graph:
        assert graph.check() == SCHEMA_VERSION


def test_what_was_the_beginning_of_a_sentence_is_a_field(store: str) -> None:
    with open_store(store) as graph:
        packed, plain = graph.model("acme/packed"), graph.model("acme/a")
    assert packed is not None and packed.quantization == "gptq 4 bits" and packed.reason is None and packed.quantized
    assert plain is not None and not plain.quantized


def test_earlier_sketches_are_read_and_compared(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    sketches = SketchStore(Path(store) / "sketches")
    with open_store(store) as graph:
        digests = [model.weights_digest for model in graph.models() if model.weights_digest]
    assert len({sketch.digest for sketch in sketches.many(digests)}) == len(set(digests)) == 5
    code, out = asked(capsys, "explain", "acme/ba", "acme/b", "--store", store, "--json")
    assert code == 0 and json.loads(out)["is_parent"]
    code, out = asked(capsys, "detect", "--store", store, "--all", "--json")
    assert code == 0 and json.loads(out)["parents"] == 4
