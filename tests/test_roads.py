"""Every road to an answer gives the same one: a folder scanned or crawled, the Hub crawled, one model asked for that is stored, not
stored or on disk, `explain`, and the Python API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

import lineage
from lineage.answer import Answer, from_decision, from_rows
from lineage.crawler.hub import Hub
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.adapter_explain import AdapterExplanation
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.explain import Explanation
from lineage.detect.options import Options
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.explaining import CannotCompare, explain_pair
from lineage.graphdb.schema import Model, Relation, Status
from lineage.graphdb.store import Store, open_store
from lineage.queries.parent_query import parent_of
from lineage.reading import look_up
from lineage.render_answer import as_text
from tests.adapters import ia3, lora, peft_files
from tests.builders import Weights, stack, start, tune
from tests.crawler.ggufs import llama
from tests.crawler.toys import hub_at
from tests.detect.test_quantized_copies import gptq
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

Said = tuple[str, frozenset[str], str | None]  # answer, parents, relation
BASES = {"packed": "original", "again": "c", "b": "a"}  # what cards name


def family() -> dict[str, Weights]:
    """Plain children, a copy, a coarser copy, a merge, and a packed copy of another family."""
    models = {"a": start(1)}
    for place, (child, parent) in enumerate({"b": "a", "c": "a", "ba": "b", "ca": "c", "d": "a", "e": "a"}.items()):
        models[child] = tune(models[parent], place + 2)
    models["again"] = models["c"]
    models["half"] = {name: values.astype(np.float16) for name, values in models["ba"].items()}
    models["merge"] = {
        name: (0.7 * models["b"][name] + 0.3 * models["c"][name]).astype(np.float32) for name in models["b"]
    }
    models["original"] = llama()
    return models


def files(name: str, weights: Weights | None) -> dict[str, bytes]:
    base = BASES.get(name)
    card = f"---\nbase_model: acme/{base}\n---\n" if base else "---\nlicense: mit\n---\n"
    content = gptq(llama()) if weights is None else save(weights)
    return {"README.md": card.encode(), "config.json": b"{}", "model.safetensors": content}


def everything() -> dict[str, dict[str, bytes]]:
    found = {name: files(name, weights) for name, weights in family().items()}
    found["packed"] = files("packed", None)
    named, a, c = {"README.md": b"---\nbase_model: acme/a\n---\n"}, start(1), family()["c"]
    found["adapter"] = {**named, "model.safetensors": save(lora(a, ("1", "2")))}
    found["upon"] = peft_files(ia3(a, ("0",)), "acme/adapter")
    found["liar"] = peft_files(lora(a, ("1", "2")), "acme/original")
    found["elsewhere"] = peft_files(lora(c, ("0",)), "someone/else")
    found["path"] = peft_files(lora(llama(), ("q_proj", "v_proj")), "/home/me/outputs/llama")
    return found


@dataclass(frozen=True)
class Roads:
    """What was made once: a folder `acme/<name>`, and two graphs that hold all of it, from the folder and from a Hub."""

    folder: Path
    local: Path
    remote: Path


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> Roads:
    place = tmp_path_factory.mktemp("roads")
    folder = place / "models"
    with FakeHub() as hub:
        for name, content in everything().items():
            (folder / "acme" / name).mkdir(parents=True)
            for file, data in content.items():
                (folder / "acme" / name / file).write_bytes(data)
            hub.add_repo(f"acme/{name}", content)
        with open_store(str(place / "local")) as local, open_store(str(place / "remote")) as remote:
            filled(local, place / "local", CrawlOptions(folder=folder))
            filled(remote, place / "remote", CrawlOptions(), hub)
    return Roads(folder, place / "local", place / "remote")


def filled(graph: Store, place: Path, options: CrawlOptions, hub: FakeHub | None = None) -> None:
    sketches = SketchStore(place / "sketches")
    crawl_into(graph, sketches, place / "progress.sqlite", options, hub=hub_at(hub) if hub else None)
    detect_into(graph, sketches, Options(), "run")


def short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def said(answer: Answer) -> Said:
    return answer.answer, frozenset(short(parent.repo_id) for parent in answer.parents), answer.relation


def answers(place: Path) -> dict[str, Said]:
    return {name: said(answer) for name, answer in stored_answers(place).items()}


def stored_answers(place: Path) -> dict[str, Answer]:
    with open_store(str(place)) as graph:
        compared = [model for model in graph.models() if model.status in (Status.SKETCHED, Status.ADAPTER)]
        return {short(model.repo_id): from_rows(parent_of(graph, model)) for model in compared}


def of_family(found: Mapping[str, Answer]) -> dict[str, Said]:
    return {short(name): said(answer) for name, answer in found.items()}


TRUTH: dict[str, tuple[set[str], str]] = {
    "b": ({"a"}, "FINE_TUNED_FROM"),
    "ba": ({"b"}, "FINE_TUNED_FROM"),
    "ca": ({"c"}, "FINE_TUNED_FROM"),
    "again": ({"c"}, "COPY_OF"),
    "half": ({"ba"}, "QUANTIZED_FROM"),
    "merge": ({"b", "c"}, "MERGED_FROM"),
    "packed": ({"original"}, "QUANTIZED_FROM"),
    "adapter": ({"a"}, "ADAPTER_OF"),
    "upon": ({"adapter"}, "ADAPTER_OF"),
}


def test_a_scan_answers_as_the_truth_is(roads: Roads) -> None:
    found = of_family(lineage.scan(roads.folder))
    assert {name: (set(found[name][1]), found[name][2]) for name in TRUTH} == TRUTH
    assert found["a"][0] == "root"
    unsettled = {name: (found[name][0], len(found[name][1])) for name in ("liar", "elsewhere", "path")}
    assert unsettled == {"liar": ("no_relatives", 0), "elsewhere": ("undecided", 0), "path": ("undecided", 0)}


def test_a_folder_scanned_and_crawled_and_the_hub_give_the_same_answers(roads: Roads) -> None:
    scanned = of_family(lineage.scan(roads.folder))
    assert answers(roads.local) == scanned
    assert answers(roads.remote) == scanned


def test_tensors_in_memory_give_the_same_answers(roads: Roads) -> None:
    scanned = of_family(lineage.scan(roads.folder, declared=False))
    in_memory = of_family(lineage.detect(family(), declared=False))
    assert len(in_memory) == 11 and in_memory == {name: scanned[name] for name in in_memory}


def asked(place: Path, model: str, **options: Any) -> Answer:
    with lineage.open_graph(str(place)) as graph:
        return graph.who_is_parent(model, **options)


@pytest.mark.parametrize(
    "name", ["ba", "merge", "half", "again", "packed", "adapter", "upon", "liar", "elsewhere", "path"]
)
def test_a_model_that_is_not_stored_is_answered_as_if_it_were(name: str, roads: Roads, tmp_path: Path) -> None:
    """On the Hub, and as a folder on this disk, beside a graph that holds everything else."""
    others = tmp_path / "others"
    with FakeHub() as hub:
        for other, content in everything().items():
            if other != name:
                hub.add_repo(f"acme/{other}", content)
        with open_store(str(others)) as graph:
            filled(graph, others, CrawlOptions(), hub)
        stored = answers(roads.remote)[name]
        assert said(asked(others, str(roads.folder / "acme" / name))) == stored
        hub.add_repo(f"acme/{name}", everything()[name])
        assert said(asked(others, f"acme/{name}", endpoint=hub.url)) == stored


def test_a_merge_that_is_not_stored_has_all_its_parents_with_their_shares(roads: Roads, tmp_path: Path) -> None:
    models = family()
    with open_store(str(tmp_path / "store")) as graph:
        for name in ("a", "b", "c"):
            (tmp_path / "models" / name).mkdir(parents=True)
            save_file(models[name], tmp_path / "models" / name / "model.safetensors")
        filled(graph, tmp_path / "store", CrawlOptions(folder=tmp_path / "models"))
    answer = asked(tmp_path / "store", str(roads.folder / "acme" / "merge"))
    assert [short(parent.repo_id) for parent in answer.parents] == ["b", "c"] and not answer.runners_up
    assert [round(parent.share or 0.0, 2) for parent in answer.parents] == [0.7, 0.3]
    stored = stored_answers(roads.remote)["merge"]
    assert [round(parent.share or 0.0, 2) for parent in stored.parents] == [0.7, 0.3]


def test_explain_agrees_whether_models_are_stored_or_not(roads: Roads) -> None:
    for child, parent in (("ba", "b"), ("merge", "c"), ("half", "ba")):
        names = f"acme/{child}", f"acme/{parent}"
        stored = lineage.explain(*names, store=str(roads.local))
        on_disk = lineage.explain(*(str(roads.folder / name) for name in names), store=str(roads.local))
        for found in (stored, on_disk):
            assert parent in {short(found.names[name]) for name, _ in found.decision.parents}, (child, parent)


def test_explain_agrees_about_adapters_as_well(roads: Roads) -> None:
    for child, parent, asserted in (
        ("adapter", "a", True),
        ("upon", "adapter", True),
        ("adapter", "c", False),
        ("liar", "original", False),
    ):
        names = f"acme/{child}", f"acme/{parent}"
        stored = lineage.explain(*names, store=str(roads.local))
        on_disk = lineage.explain(*(str(roads.folder / name) for name in names), store=str(roads.local))
        for found in (stored, on_disk):
            assert isinstance(found, AdapterExplanation)
            assert (found.parent in dict(found.decision.parents)) is asserted, (child, parent)


def test_a_copy_beside_a_model_does_not_hide_where_it_comes_from(roads: Roads) -> None:
    found = lineage.explain(
        str(roads.folder / "acme" / "ca"), str(roads.folder / "acme" / "again"), store=str(roads.local)
    )
    assert short(found.names[found.decision.parent or ""]) == "again", "`c`, of which it is a copy, is left out"


def test_names_in_a_crawled_folder_are_understood(roads: Roads) -> None:
    answer = asked(roads.local, "acme/b")
    assert short(answer.parent or "") == "a" and [claim.base for claim in answer.declared] == ["acme/a"]
    assert answer.agreement is not None and str(answer.agreement.agreement) == "agree"


def test_names_of_hugging_faces_cache_are_understood(tmp_path: Path) -> None:
    models = family()
    for name in ("a", "b"):
        at = tmp_path / "cache" / f"models--acme--{name}" / "snapshots" / ("1" * 40)
        at.mkdir(parents=True)
        for file, data in files(name, models[name]).items():
            (at / file).write_bytes(data)
    with open_store(str(tmp_path / "store")) as graph:
        filled(graph, tmp_path / "store", CrawlOptions(folder=tmp_path / "cache"))
    answer = asked(tmp_path / "store", "acme/b")
    assert answer.parent == "acme/a" and answer.agreement is not None
    found = lineage.explain("acme/b", "acme/a", store=str(tmp_path / "store"))
    assert found.decision.parent is not None and found.names[found.parent] == "acme/a"


def test_cards_count_in_a_scan_unless_they_are_left_out(roads: Roads) -> None:
    found = lineage.scan(roads.folder)
    assert found["acme/packed"].decided_by == ("content", "declared") and "declared" in found["acme/again"].decided_by
    without = lineage.scan(roads.folder, declared=False)
    assert without["acme/packed"].answer == "undecided"
    assert without["acme/again"].relation != "COPY_OF", "which is the copy is not in the weights"


def nowhere() -> Hub:
    raise AssertionError("no Hub is asked about models on disk")


def test_models_of_other_depths_are_explained_layer_by_layer(tmp_path: Path) -> None:
    base = stack("model.", 3, depth=8)
    child = {name: values for name, values in tune(base, 4, 0.1).items() if ".layers.7." not in name}
    for name, weights in {"base": base, "child": child, "stranger": stack("model.", 5, depth=6)}.items():
        save_file(weights, tmp_path / f"{name}.safetensors")
    sketches, graph = SketchStore(tmp_path / "sketches"), None
    looked = {
        n: look_up(str(tmp_path / f"{n}.safetensors"), graph, sketches, nowhere) for n in ("base", "child", "stranger")
    }
    found = explain_pair((looked["child"], "child"), (looked["base"], "base"), graph, sketches, Options())
    assert isinstance(found, Explanation) and found.layer_map == "0,1,2,3,4,5,6 of the parent's 8"
    assert found.related > 0.9 and found.decision.named == {found.parent}
    strange = explain_pair((looked["stranger"], "stranger"), (looked["base"], "base"), graph, sketches, Options())
    assert isinstance(strange, Explanation) and abs(strange.related) < 0.1 and strange.decision.parent is None


def test_of_models_without_a_common_backbone_equal_tensors_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kept = rng.normal(size=(64, 48)).astype(np.float32)
    one = {"start.weight": kept, "end.weight": rng.normal(size=(7, 64)).astype(np.float32)}
    two = {"first.begin.weight": kept, "other.weight": rng.normal(size=(33, 5)).astype(np.float32)}
    for name, weights in {"one": one, "two": two}.items():
        save_file(weights, tmp_path / f"{name}.safetensors")
    sketches = SketchStore(tmp_path / "sketches")
    looked = [look_up(str(tmp_path / f"{n}.safetensors"), None, sketches, nowhere) for n in ("one", "two")]
    with pytest.raises(CannotCompare, match="1 of the 2 tensors that were read of one are in two bit for bit"):
        explain_pair((looked[0], "one"), (looked[1], "two"), None, sketches, Options())


def test_where_the_largest_part_is_undecided_the_parents_of_other_parts_are_named_beside_it() -> None:
    tower = Decision("m", AnswerKind.PARENT, 0.99, "vision", Relation.COPY_OF, evidence={"part": "tower"})
    said = Decision("m", AnswerKind.UNDECIDED, 0.6, candidates=(Candidate("a", 0.6),), other_parts=(tower,))
    names = {"vision": "acme/vision", "a": "acme/a"}
    found = from_decision(said, Model("m", "acme/m", Status.SKETCHED), names, method="lineage", method_version="1")
    assert (found.answer, found.parent, [p.part for p in found.of_parts]) == ("undecided", None, ["tower"])
    assert "parts" in as_text(found, stored=False) and "tower from acme/vision" in as_text(found, stored=False)
