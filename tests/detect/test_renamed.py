"""Relatives whose tensors have other names, are fused, turned, interleaved or copied into experts: found by their values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.group_decisions import decide_about, decide_groups
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.renamed import _nearer_to_own, _other_than_before, size_keys
from lineage.detect.row_match import corresponding, tables_of
from lineage.detect.sketch_store import SketchStore
from lineage.detect.translated import translated
from lineage.detection import detect_into
from lineage.graphdb.schema import Model, Relation, Status, share_key
from lineage.graphdb.store import Store, open_store
from lineage.other_names import OtherNames
from tests.builders import sketch_of, stack, start, tune

WIDE, BETWEEN, DEPTH = 32, 80, 4
Tensors = dict[str, np.ndarray]
_PLAIN = {
    "q": "attn.q",
    "k": "attn.k",
    "v": "attn.v",
    "o": "attn.o",
    "gate": "mlp.gate",
    "up": "mlp.up",
    "down": "mlp.down",
}


def network(seed: int) -> Tensors:
    """A language model's blocks under plain names."""
    rng = np.random.default_rng(seed)
    shapes = dict.fromkeys("qkvo", (WIDE, WIDE)) | {
        "gate": (BETWEEN, WIDE),
        "up": (BETWEEN, WIDE),
        "down": (WIDE, BETWEEN),
    }
    found: Tensors = {"embed_tokens.weight": rng.normal(size=(60, WIDE)).astype(np.float32)}
    for i in range(DEPTH):
        for part, shape in shapes.items():
            found[f"layers.{i}.{_PLAIN[part]}.weight"] = rng.normal(size=shape).astype(np.float32)
        found[f"layers.{i}.norm.weight"] = (1 + 0.1 * rng.normal(size=WIDE)).astype(np.float32)
    return found


def grown(tensors: Tensors, seed: int, amount: float = 0.3) -> Tensors:
    """Trained on, as growth sees it: each row moves by an amount of its own, at right angles to what is there."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, v in tensors.items():
        own = rng.lognormal(0.0, 0.7, (len(v), *[1] * (v.ndim - 1)))
        found[name] = (v + amount * own * v.std() * rng.normal(size=v.shape)).astype(np.float32)
    return found


def renamed(tensors: Tensors) -> Tensors:
    words = {
        "layers": "transformer.h",
        "attn": "attention",
        "mlp": "ff",
        "gate": "w1",
        "up": "w3",
        "down": "w2",
        "norm": "ln",
    }
    return {".".join(words.get(p, p) for p in name.split(".")): v for name, v in tensors.items()}


def fused(tensors: Tensors) -> Tensors:
    found = {}
    for name, v in tensors.items():
        if name.endswith("attn.q.weight"):
            found[name.replace(".q.", ".qkv.")] = np.concatenate(
                [tensors[name.replace(".q.", f".{p}.")] for p in "qkv"]
            )
        elif name.endswith("gate.weight"):
            found[name.replace("gate", "gate_up")] = np.concatenate([v, tensors[name.replace("gate", "up")]])
        elif not name.endswith((".k.weight", ".v.weight", ".up.weight")):
            found[name] = v
    return found


def interleaved(tensors: Tensors) -> Tensors:
    """Two heads at a time: their q, then their k, then their v."""
    found = renamed(fused(tensors))
    for name, v in list(found.items()):
        if "qkv" in name:
            found[name] = v.reshape(3, 2, WIDE // 2, WIDE).swapaxes(0, 1).reshape(-1, WIDE).copy()
    return found


def turned(tensors: Tensors) -> Tensors:
    return {n.replace("layers", "h"): v.T.copy() if v.ndim == 2 and "embed" not in n else v for n, v in tensors.items()}


def upcycled(tensors: Tensors) -> Tensors:
    found = {}
    for name, v in tensors.items():
        if ".mlp." in name:
            for expert in range(4):
                found[name.replace("mlp", f"moe.experts.{expert}")] = v
        else:
            found[name] = v
        if name.endswith("norm.weight"):
            found[name.replace("norm", "moe.router")] = (
                np.random.default_rng(len(name)).normal(size=(4, WIDE)).astype(np.float32)
            )
    return found


def stacked_experts(tensors: Tensors) -> Tensors:
    """Experts as one tensor of three dimensions, turned."""
    found = {n: v for n, v in tensors.items() if ".mlp." not in n}
    for i in range(DEPTH):
        for part in ("gate", "up", "down"):
            found[f"layers.{i}.experts.{part}_proj"] = np.stack([tensors[f"layers.{i}.mlp.{part}.weight"].T] * 3)
    return found


def stacked_layers(tensors: Tensors) -> Tensors:
    """Experts of all layers as one tensor of four dimensions."""
    found = {n: v for n, v in tensors.items() if ".mlp." not in n}
    for part in ("gate", "up", "down"):
        layers = [np.stack([tensors[f"layers.{i}.mlp.{part}.weight"]] * 8) for i in range(DEPTH)]
        found[f"experts.{part}_proj"] = np.stack(layers)
    return found


def subject(name: str, tensors: Tensors) -> Subject:
    return Subject(name, sketch_of(tensors))


def plain(some: Sequence[Subject]) -> list[Decision]:
    return decide(some, Options(detector=False), torch.device("cpu"))


def named(decision: Decision) -> set[str]:
    return {decision.parent or "", *(candidate.parent for candidate in decision.candidates)} - {""}


BASE, STRANGER = network(0), network(1)
WRITERS = [renamed, fused, interleaved, turned, upcycled, stacked_experts, stacked_layers]


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS)
def test_a_child_under_other_names_is_linked_to_its_base_and_strangers_to_nothing(
    write: Callable[[Tensors], Tensors],
) -> None:
    models = {
        "base": BASE,
        "child": write(grown(BASE, 2)),
        "again": grown(BASE, 3),
        "stranger": STRANGER,
        "strange": write(network(5)),
    }
    subjects = {name: subject(name, tensors) for name, tensors in models.items()}
    assert not share_key(subjects["base"].sketch.signature, subjects["child"].sketch.signature)
    assert size_keys(subjects["base"].sketch) & size_keys(subjects["child"].sketch)
    said = {d.model: d for d in decide_groups(list(subjects.values()), plain, 0.8)}
    assert "base" in named(said["child"]), said["child"]
    assert (said["child"].evidence.get("renamed") and "other names" in str(said["child"].reason)) or write in (
        upcycled,
        stacked_experts,
        stacked_layers,
    )
    assert named(said["stranger"]) == named(said["strange"]) == set()
    assert said["strange"].answer is AnswerKind.NO_RELATIVES
    assert not {"stranger", "strange"} & set().union(*(named(d) for d in said.values()))


@pytest.mark.slow
def test_a_base_under_older_names_and_its_copy_have_the_children_of_one_family() -> None:
    older = renamed(BASE)
    models = {"older": older, "older-twin": older} | {f"child-{n}": grown(BASE, 20 + n) for n in range(4)}
    said = {d.model: d for d in decide_groups([subject(n, t) for n, t in models.items()], plain, 0.8)}
    assert {said[f"child-{n}"].parent for n in range(4)} == {"older"}
    assert said["older"].answer is AnswerKind.ROOT
    assert said["older-twin"].evidence["equal_to"] == "older" and said["older-twin"].answer is AnswerKind.UNDECIDED


@pytest.mark.parametrize("write", [stacked_experts, stacked_layers, upcycled])
def test_sizes_and_rows_of_a_model_are_those_of_the_same_matrices(write: Callable[[Tensors], Tensors]) -> None:
    dense, experts = sketch_of(BASE), sketch_of(write(BASE))
    assert size_keys(experts) == size_keys(dense) == {(WIDE, WIDE), (WIDE, BETWEEN)}
    assert all(
        tables_of(one).by_width.keys() - {len(BASE["embed_tokens.weight"])} == {WIDE, BETWEEN}
        for one in (dense, experts)
    )


@pytest.mark.slow
@pytest.mark.parametrize("write", [fused, upcycled])
def test_a_lookup_finds_relatives_of_other_names(write: Callable[[Tensors], Tensors]) -> None:
    known = [subject("base", BASE), subject("again", grown(BASE, 3)), subject("stranger", STRANGER)]
    assert "base" in named(decide_about(subject("child", write(grown(BASE, 2))), known, plain, 0.8))


@pytest.mark.parametrize("write", [renamed, fused, interleaved, turned])
def test_a_translation_gives_back_the_values_that_were_written_under_other_names(
    write: Callable[[Tensors], Tensors],
) -> None:
    base, other = sketch_of(BASE), sketch_of(write(BASE))
    again = translated(other, base, corresponding(base, other))
    matrices = [name for name in base.samples if "norm" not in name]
    assert set(matrices) <= set(again.samples)
    for name in matrices:
        own, its = base.samples[name], again.samples[name]
        assert (own.start, own.stop, own.shape, own.dtype) == (its.start, its.stop, its.shape, its.dtype)
        assert own.raw == its.raw, name


def test_experts_made_of_a_dense_model_come_after_it() -> None:
    """Of two alone it may be one near it; beside other children of the dense model it is this one."""
    two = {"dense": BASE, "moe": grown(upcycled(BASE), 2, 0.05)}
    said = {d.model: d for d in decide_groups([subject(*item) for item in two.items()], plain, 0.8)}
    assert named(said["moe"]) == {"dense"} and said["dense"].answer is AnswerKind.ROOT
    assert said["moe"].parent is None and "copies of the feed-forward" in str(said["moe"].reason)
    more = two | {f"child{n}": grown(BASE, 10 + n) for n in range(3)}
    said = {d.model: d for d in decide_groups([subject(*item) for item in more.items()], plain, 0.8)}
    assert said["moe"].parent == "dense" and said["dense"].parent is None
    assert "experts" in said["moe"].decided_by


def test_what_was_trained_from_a_mixture_is_nearer_to_it_than_to_the_dense_model_and_another_mixture_of_that_is_not() -> (
    None
):
    mixture = grown(upcycled(BASE), 2, 0.1)
    dense = subject("dense", {n: v for n, v in upcycled(BASE).items() if "router" not in n})
    child, apart = subject("child", grown(mixture, 3, 0.1)), subject("apart", grown(upcycled(BASE), 4, 0.1))
    assert _nearer_to_own(child, [child, subject("mixture", mixture)], [dense])
    assert not _nearer_to_own(apart, [apart, subject("mixture", mixture)], [dense])
    assert not _nearer_to_own(child, [child], [dense])


@pytest.mark.parametrize(("parent", "kept"), [("dense", True), (None, True), ("mixture", False), ("sibling", True)])
def test_of_a_mixture_that_may_come_from_a_dense_model_what_was_likeliest_before_is_kept(
    parent: str | None, kept: bool
) -> None:
    kind = AnswerKind.PARENT if parent else AnswerKind.UNDECIDED
    before = Decision("child", AnswerKind.UNDECIDED, 0.6, candidates=(Candidate("mixture", 0.6),))
    after = Decision(
        "child", kind, 0.9, parent, candidates=(Candidate(parent or "dense", 0.9), Candidate("dense", 0.05))
    )
    assert _other_than_before(after, before, [subject("dense", BASE)]) == kept
    assert not _other_than_before(after, before, [subject("another", BASE)])


@pytest.mark.slow
def test_a_child_of_the_dense_model_that_a_mixture_was_made_of_is_no_root() -> None:
    models = {"dense": BASE, "dense-chat": grown(BASE, 5, 0.1), "moe": grown(upcycled(BASE), 2, 0.05)}
    models |= {f"moe{n}": grown(models["moe"], 40 + n, 0.1) for n in range(2)}
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    assert said["dense-chat"].answer is not AnswerKind.ROOT and said["dense-chat"].likeliest == "dense"
    assert said["dense"].answer is AnswerKind.ROOT


def test_several_copies_of_a_matrix_are_called_experts_where_their_names_say_so() -> None:
    """As in a Longformer, whose projections for global attention begin as copies of the others."""

    def named_otherwise(tensors: Tensors) -> Tensors:
        return {
            n.replace("moe.experts", "mlp.branches").replace("moe.router", "mlp.mixer"): v for n, v in tensors.items()
        }

    two = {"plain": BASE, "wide": named_otherwise(grown(upcycled(BASE), 2, 0.05))}
    said = {d.model: d for d in decide_groups([subject(*item) for item in two.items()], plain, 0.8)}
    assert str(said["wide"].reason) == "it has several copies of tensors of plain, trained on"


def test_the_child_of_a_model_that_is_there_under_two_namings_comes_from_the_one_whose_names_it_has() -> None:
    models = {
        "plain": BASE,
        "copy": renamed(BASE),
        "child": renamed(grown(BASE, 5)),
        "other": grown(BASE, 6),
        "third": grown(BASE, 7),
        "fourth": grown(BASE, 8),
    }
    said = {d.model: d for d in decide_groups([subject(name, tensors) for name, tensors in models.items()], plain, 0.8)}
    assert said["other"].parent == said["third"].parent == "plain"
    assert said["child"].parent == "copy" and said["child"].evidence["nearly_equal"] == ["plain"]
    assert said["copy"].answer is AnswerKind.UNDECIDED and "all 49,024 values compared are equal" in str(
        said["copy"].reason
    )
    assert said["plain"].answer is AnswerKind.ROOT


def test_quantized_copies_under_other_names_come_from_their_original_and_no_stranger() -> None:
    half = {name: values.astype(np.float16) for name, values in renamed(BASE).items()}
    models = {"plain": BASE, "stranger": STRANGER, "child": grown(BASE, 6)}
    copies = [Subject(name, sketch_of(half), quantization="gguf F16") for name in ("one", "two", "three", "four")]
    subjects = [subject(name, tensors) for name, tensors in models.items()]
    for some in (copies[:1], copies):
        said = {d.model: d for d in decide_groups([*subjects, *some], plain, 0.8)}
        assert {said[c.id].parent for c in some} == {"plain"} and said["plain"].parent is None
        assert {said[c.id].relation for c in some} == {Relation.QUANTIZED_FROM}
        assert said["stranger"].parent is None and "stranger" not in {name for d in said.values() for name in d.named}


def test_a_table_that_strangers_have_alike_is_no_kinship_under_other_names() -> None:
    table = np.random.default_rng(8).normal(size=(258, WIDE)).astype(np.float32)
    one, other = {**BASE, "spectrum.weight": table}, {**renamed(STRANGER), "stft.basis": table}
    said = decide_groups([subject("one", one), subject("other", other)], plain, 0.8)
    assert [d.answer for d in said] == [AnswerKind.NO_RELATIVES] * 2


def put(graph: Store, sketches: SketchStore, models: Mapping[str, Tensors]) -> None:
    rows = []
    for name, tensors in models.items():
        sketch = replace(sketch_of(tensors), digest=hashlib.sha256(name.encode()).hexdigest())
        sketches.keep(sketch)
        rows.append(
            Model(name, f"acme/{name}", Status.SKETCHED, weights_digest=sketch.digest, signature=sketch.signature)
        )
    graph.upsert_models(rows)


def links(graph: Store) -> set[tuple[str, str]]:
    rows = graph.read(
        "MATCH (c:Model)-[:FINE_TUNED_FROM|POSSIBLE_PARENT]->(p:Model) RETURN c.hub_id AS c, p.hub_id AS p"
    )
    return {(row["c"], row["p"]) for row in rows}


@pytest.mark.slow
def test_the_graph_links_models_of_other_names_also_when_one_comes_later(tmp_path: Path) -> None:
    sketches, options = SketchStore(tmp_path / "sketches"), Options(detector=False)
    with open_store(str(tmp_path / "store")) as graph:
        put(
            graph, sketches, {"base": BASE, "again": grown(BASE, 3), "stranger": STRANGER, "strange": fused(network(5))}
        )
        detect_into(graph, sketches, options, "run-1")
        first = links(graph)
        assert ("again", "base") in first and not {"stranger", "strange"} & {name for pair in first for name in pair}
        put(graph, sketches, {"fused": fused(grown(BASE, 2)), "turned": turned(grown(BASE, 4))})
        detect_into(graph, sketches, options, "run-2")
        assert {("fused", "base"), ("turned", "base")} <= links(graph)
        assert detect_into(graph, sketches, options, "run-3")["architectures"] == 0, "nothing changed"
        detect_into(graph, sketches, options, "run-4", everything=True)
        assert {("fused", "base"), ("turned", "base"), ("again", "base")} <= links(graph)
        subject_now = subject("new", renamed(grown(BASE, 8)))
        around = OtherNames(graph, sketches, options).around(subject_now)
        assert "base" in {other.id for other in around}
        assert "base" in named(decide_about(subject_now, around, plain, 0.8))


@pytest.mark.slow
def test_all_parts_of_a_model_under_other_names_are_compared() -> None:
    def two_parts(seed: int) -> Tensors:
        second = {f"decoder.{n}": v for n, v in network(seed + 50).items() if "embed" not in n and "mlp" not in n}
        return {f"encoder.{n}": v for n, v in network(seed).items() if "embed" not in n} | second

    base = two_parts(0)
    models = {"base": base, "again": grown(base, 3), "child": renamed(grown(base, 2))}
    said = {d.model: d for d in decide_groups([subject(n, t) for n, t in models.items()], plain, 0.8)}
    matrices = sum(v.size for v in base.values() if v.ndim == 2)
    assert "base" in named(said["child"]) and said["child"].evidence["values_compared"] >= matrices


def shallow(tensors: Tensors, kept: Sequence[int]) -> Tensors:
    """Some of the layers."""
    found = {name: values for name, values in tensors.items() if not name.startswith("layers.")}
    for place, number in enumerate(kept):
        inside = f"layers.{number}."
        found |= {n.replace(inside, f"layers.{place}."): v for n, v in tensors.items() if n.startswith(inside)}
    return found


@pytest.mark.slow
def test_a_model_of_other_names_that_lost_layers_is_from_the_oldest_with_its_map() -> None:
    models = {
        "base": BASE,
        "again": grown(BASE, 3),
        "first": grown(shallow(BASE, (0, 1, 2)), 4),
        "other": renamed(grown(shallow(BASE, (1, 3)), 5)),
    }
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    assert "base" in named(said["other"]) and said["other"].evidence["layers"] == "1,3"
    assert "other" not in named(said["first"])


def test_a_model_comes_from_none_that_has_only_some_of_its_layers() -> None:
    """Also where all values say that the flat one came first."""
    flat = shallow(BASE, (0, 2))
    trained, deep = grown(flat, 5), network(7)
    for name, values in trained.items():
        deep[name.replace("layers.1.", "layers.2.")] = values
    said = {d.model: d for d in decide_groups([subject("deep", deep), subject("flat", renamed(flat))], plain, 0.5)}
    assert said["deep"].answer is AnswerKind.ROOT
    assert named(said["flat"]) == {"deep"} and said["flat"].siblings == ("deep", "flat")


def test_a_copy_of_a_part_is_no_copy_of_the_model() -> None:
    vision, language = stack("", 3, 48), stack("language_model.", 4, 32, 5)
    words = {"query": "q_proj", "up": "fc1", "down": "fc2"}
    tower = {
        "tower." + ".".join(words.get(w, w) for w in n.split(".")): v.astype(np.float16) for n, v in vision.items()
    }
    said = {
        d.model: d for d in decide_groups([subject("vision", vision), subject("whole", language | tower)], plain, 0.8)
    }
    assert (said["whole"].parent, said["whole"].relation) == ("vision", Relation.FINE_TUNED_FROM)
    assert said["whole"].evidence["part"] == "tower.layers"


@pytest.mark.slow
def test_models_of_other_names_and_depths_are_siblings_once_their_original_is_found() -> None:
    """Among themselves the one that kept fewer layers seems to be made of the other one's."""
    models = {
        "base": BASE,
        "again": grown(BASE, 3),
        "deep": renamed(grown(shallow(BASE, (0, 1, 2, 1, 2, 3)), 4)),
        "flat": renamed(grown(shallow(BASE, (0, 3)), 5)),
    }
    alone = decide_groups([subject(name, models[name]) for name in ("deep", "flat")], plain, 0.8)
    assert named(alone[1]) == {"deep"}
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    assert "base" in named(said["deep"]) and "base" in named(said["flat"])
    assert said["flat"].parent != "deep"


@pytest.mark.slow
def test_each_part_of_a_file_of_several_models_is_found_under_the_names_of_its_own_original() -> None:
    text = {f"text.{name}": values for name, values in network(6).items()}
    unet = {f"unet.{name}": values for name, values in network(7).items()}
    single = {f"cond.{n}": v for n, v in renamed(grown(network(6), 8)).items()}
    single |= {f"model.{n}": v for n, v in renamed(grown(network(7), 9)).items()}
    models = {"text": text, "unet": unet, "single": single, "stranger": STRANGER}
    said = {d.model: d for d in decide_groups([subject(*item) for item in models.items()], plain, 0.8)}
    about = [said["single"], *said["single"].other_parts]
    assert {name for decision in about for name in named(decision)} <= {"text", "unet"}
    assert named(said["single"]) and "stranger" not in said["single"].named
    everything = {name for decision in said.values() for name in named(decision)}
    assert all("\n" not in name for name in everything)


def test_counters_masks_and_positions_are_no_packed_weights() -> None:
    """Every network of PyTorch with batch norms counts batches: it is compared with models of other names like any other."""
    layout = {
        "bn.num_batches_tracked": (),
        "position_ids": (1, 64),
        "mask": (1, 64),
        "steps": (3,),
        "q.qweight": (8, 64),
    }
    sketch = sketch_of({name: np.ones(shape, np.int32) for name, shape in layout.items()})
    assert sketch.packs_weights and not replace(sketch, packed=sketch.packed - {"q.qweight"}).packs_weights


def test_a_network_that_counts_batches_is_found_under_other_names() -> None:
    rng = np.random.default_rng(3)
    own = {f"layer{i}.0.conv1.weight": rng.normal(size=(24 + 8 * i, 16, 3, 3)).astype(np.float32) for i in range(5)}
    other = {name.replace("layer", "stages.").replace("conv1", "convolution"): v for name, v in own.items()}
    counted = {**own, "bn.num_batches_tracked": np.array(7)}
    said = decide_groups([subject("own", counted), subject("other", other)], plain, 0.8)
    assert set().union(*(d.named for d in said)) & {"own", "other"}, said


def test_of_two_models_with_the_same_weights_under_other_names_neither_is_the_original() -> None:
    said = {d.model: d for d in decide_groups([subject("a", BASE), subject("b", renamed(BASE))], plain, 0.8)}
    assert sorted(d.answer for d in said.values()) == [AnswerKind.ROOT, AnswerKind.UNDECIDED]
    assert {d.reason.key for d in said.values()} == {"same_weights", "tie_equal_values"}


@pytest.mark.slow
def test_a_grandchild_comes_from_its_parent_under_other_names_though_its_grandparent_has_its_own() -> None:
    parent = grown(BASE, 2, 0.4)
    models = {"base": BASE, "parent": renamed(parent), "child": grown(parent, 3, 0.2)}
    models |= {f"other-{n}": grown(BASE, 20 + n) for n in range(3)}
    said = {d.model: d for d in decide_groups([subject(n, t) for n, t in models.items()], plain, 0.8)}
    assert said["child"].parent == "parent" and said["parent"].parent == "base"


def test_networks_that_hold_a_part_of_another_one_do_not_hide_it_however_many_they_are() -> None:
    """As ControlNets hold the encoder of their U-Net: some tensors have the same names, and each kind has tensors of its own."""
    wide, down = 64, ("down.first.weight", "down.second.weight", "down.third.weight", "mid.first.weight")
    shapes = dict.fromkeys(down, (2 * wide, wide))
    base = start(70, shapes | {f"up.{word}.weight": (2 * wide, wide) for word in ("first", "second", "third")})
    models = {"base": base}
    for seed, name in enumerate(("edge", "gray", "pose")):
        held = tune({n: base[n] for n in down}, 71 + seed, 0.1 + 0.02 * seed)
        models[name] = held | {
            "control.weight": start(80 + seed, {"control.weight": (wide, 2 * wide)})["control.weight"]
        }
    said = {d.model: d for d in decide_groups([Subject(n, sketch_of(w, n)) for n, w in models.items()], plain, 0.8)}
    assert said["base"].answer is AnswerKind.ROOT
    assert {said[name].likeliest for name in ("edge", "gray", "pose")} == {"base"}
