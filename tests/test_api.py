"""The Python API: `import lineage` is quick, detection works on tensors, paths and names, and results go where people want them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import lineage
from lineage.answer import Answer, Parent
from lineage.family import Family
from lineage.graphdb.schema import Model, Status
from tests.builders import three_generations, write

ROOT = Path(__file__).parent.parent
DOCUMENTED = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text(), re.DOTALL | re.MULTILINE)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def test_importing_it_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time\nbegan = time.process_time()\nimport lineage\ntook = time.process_time() - began\n"
        "lineage.scan, lineage.explain, lineage.open_graph, lineage.Failure\n"
        "print(took, sorted({'torch', 'numpy', 'networkx', 'click', 'huggingface_hub', 'pandas'} & set(sys.modules)))\n"
    )
    took, loaded = min((run(code).split(maxsplit=1) for _ in range(3)), key=lambda words: float(words[0]))
    assert float(took) <= 0.1 and loaded.strip() == "[]"


def test_detect_is_a_function_and_a_package() -> None:
    assert callable(lineage.detect)
    import lineage.detect.sketch as sketch

    assert sketch.BUDGET_VALUES == sys.modules["lineage.detect"].sketch.BUDGET_VALUES
    assert set(lineage.__all__) <= set(dir(lineage)) and lineage.__version__
    with pytest.raises(AttributeError, match="no_such_thing"):
        lineage.no_such_thing  # type: ignore[attr-defined]  # noqa: B018


def test_numpy_torch_and_files_give_the_same_answers(tmp_path: Path) -> None:
    models, parents = three_generations()
    arrays = lineage.detect(models)
    tensors = lineage.detect({n: {k: torch.from_numpy(v) for k, v in w.items()} for n, w in models.items()})
    write(tmp_path, models)
    paths = lineage.detect({name: tmp_path / f"{name}.safetensors" for name in models})
    assert {n: a.parent for n, a in arrays.items()} == {n: parents.get(n) for n in models}
    for other in (tensors, paths):
        assert {n: (a.parent, a.probability) for n, a in other.items()} == {
            n: (a.parent, a.probability) for n, a in arrays.items()
        }
    assert list(lineage.detect([tmp_path / "a.safetensors", str(tmp_path / "b.safetensors")])) == [
        str(tmp_path / "a.safetensors"),
        str(tmp_path / "b.safetensors"),
    ]


def test_halves_of_torch_are_read_bit_for_bit() -> None:
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    base = {"layers.0.weight": weight, "layers.0.bias": torch.zeros(64), "steps": torch.tensor(7)}
    half = {name: value.bfloat16() if value.is_floating_point() else value for name, value in base.items()}
    found = lineage.detect({"base": base, "half": half})
    assert (found["half"].parent, found["half"].relation) == ("base", "QUANTIZED_FROM")


def test_results_become_graphs_tables_and_trees() -> None:
    models, parents = three_generations()
    found = lineage.detect(models)
    graph = found.to_networkx()
    assert set(graph.edges) == set(parents.items()) and graph.edges["b", "a"]["relation"] == "FINE_TUNED_FROM"
    table = found.to_pandas().set_index("model")
    assert table.loc["ba", "parent"] == "b" and table["parent"].isna().to_dict()["a"]
    assert "└── " in str(found) and found.roots == ["a"]
    assert found._repr_html_().count("<li>") == len(models)


def test_names_and_reasons_cannot_break_out_of_a_notebook() -> None:
    evil = Model("id", "<img src=x>", Status.SKETCHED)
    answer = Answer(evil, "parent", (Parent("p", "root", "FINE_TUNED_FROM", 0.9),), 0.9, "<script>")
    root = Answer(Model("p", "root", Status.SKETCHED), "root", reason="</ul><script>alert(1)</script>")
    page = lineage.Family({"root": root, "<img src=x>": answer}, {"<b>": "<i>"})._repr_html_()
    assert "<script" not in page and "<img" not in page and "&lt;img src=x&gt;" in page and "<i>" not in page


def test_what_is_no_model_fails_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(lineage.Failure, match="not a tensor"):
        lineage.detect({"a": {"weight": [1, 2]}})
    with pytest.raises(lineage.Failure, match="no file or folder"):
        lineage.detect([tmp_path / "nothing"])
    with pytest.raises(lineage.Failure, match="no tensors"):
        lineage.detect({"a": {}})
    with pytest.raises(lineage.Failure, match="NaN"):
        lineage.detect({"a": {"layers.0.weight": np.full((8, 8), np.nan, np.float32)}})
    with pytest.raises(lineage.Failure, match="no lineage graph"):
        lineage.open_graph(str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (torch.empty(8, 8, device="meta"), "it is on the device meta"),
        (torch.eye(8).to_sparse(), "is torch.sparse_coo"),
        ([1.0, 2.0], "is list"),
        (np.zeros((8, 8), complex), "is complex128"),
        (np.array([None]), "is object"),
    ],
    ids=["meta", "sparse", "list", "complex", "object"],
)
def test_what_is_no_dense_tensor_is_named(value: object, why: str) -> None:
    with pytest.raises(lineage.Failure, match=re.escape(why)):
        lineage.detect({"a": {"layer.weight": value}, "b": {"layer.weight": np.zeros((8, 8), np.float32)}})


def test_names_are_texts_and_thresholds_probabilities() -> None:
    tensors = {"w": np.zeros((8, 8), np.float32)}
    with pytest.raises(TypeError, match="the name of a model is a text, not 1"):
        lineage.detect({1: tensors})  # type: ignore[dict-item]
    with pytest.raises(lineage.Failure, match="the name of a tensor is a text, not 3"):
        lineage.detect({"a": {3: tensors["w"]}})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="between 0 and 1, not 7"):
        lineage.detect({"a": tensors}, threshold=7)


def test_one_path_is_a_list_of_one(tmp_path: Path) -> None:
    save_file(three_generations()[0]["a"], tmp_path / "a.safetensors")
    assert list(lineage.detect(str(tmp_path / "a.safetensors"))) == [str(tmp_path / "a.safetensors")]


def test_a_graph_answers_about_models_that_it_does_not_hold(tmp_path: Path) -> None:
    from lineage.graphdb.store import open_store

    with open_store(str(tmp_path / "store")):
        pass
    models, _ = three_generations()
    save_file(models["a"], tmp_path / "a.safetensors")
    with lineage.open_graph(str(tmp_path / "store")) as graph:
        assert graph.who_is_parent(tmp_path / "a.safetensors").answer in ("unknown", "no_relatives")
        assert graph.cypher("MATCH (m:Model) RETURN count(m) AS models") == [{"models": 0}]


@pytest.mark.parametrize("code", DOCUMENTED)
def test_what_is_documented_runs(code: str) -> None:
    assert run(code).startswith("base 0.")


def test_a_tree_says_which_other_model_may_be_the_parent_as_well() -> None:
    top, near, child = (Model(name, name, Status.SKETCHED) for name in ("top", "near", "child"))
    parent = (Parent("top", "top", "FINE_TUNED_FROM", 0.99),)
    answers = {
        "top": Answer(top, "root"),
        "near": Answer(near, "undecided"),
        "child": Answer(child, "parent", parent, 0.99, evidence={"nearly_equal": ["near", "elsewhere"]}),
    }
    assert "child   fine-tuned, 0.99 (or from near, nearly equal)" in str(Family(answers))
