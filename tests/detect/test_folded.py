"""Exports with batch norms folded in: told by kernels that differ by a factor, and never a parent or a child by the lengths of kernels."""

from __future__ import annotations

import numpy as np

from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.folded import keeps_norms
from lineage.detect.group_decisions import decide_groups
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.graphdb.schema import Relation
from tests.builders import sketch_of, tune

Tensors = dict[str, np.ndarray]


def detector(seed: int) -> Tensors:
    rng = np.random.default_rng(seed)
    found: Tensors = {}
    for i, (wide, into) in enumerate([(16, 3), (24, 16), (32, 24), (32, 32)]):
        found[f"model.{i}.conv.weight"] = rng.normal(size=(wide, into, 3, 3)).astype(np.float32)
        found[f"model.{i}.bn.weight"] = rng.uniform(0.3, 3, wide).astype(np.float32)
        found[f"model.{i}.bn.bias"] = rng.normal(size=wide).astype(np.float32)
        found[f"model.{i}.bn.running_mean"] = rng.normal(size=wide).astype(np.float32)
        found[f"model.{i}.bn.running_var"] = rng.uniform(0.3, 3, wide).astype(np.float32)
    return found


def tuned(tensors: Tensors, seed: int) -> Tensors:
    kernels = {name: values for name, values in tensors.items() if values.ndim > 1}
    return {**tensors, **tune(kernels, seed, 0.1, 0.0)}


def exported(tensors: Tensors) -> Tensors:
    """Each kernel times the norm's weight over the deviation, as PyTorch fuses them."""
    found = {}
    for name, values in tensors.items():
        if values.ndim > 1:
            norm = name.replace("conv.weight", "bn.")
            factor = tensors[norm + "weight"] / np.sqrt(tensors[norm + "running_var"] + 1e-5)
            found[name] = values * factor[:, None, None, None]
            found[name.replace("weight", "bias")] = tensors[norm + "bias"] - tensors[norm + "running_mean"] * factor
    return found


def decided(models: dict[str, Tensors]) -> dict[str, Decision]:
    subjects = [Subject(name, sketch_of(tensors, name)) for name, tensors in models.items()]
    return {d.model: d for d in decide_groups(subjects, lambda some: decide(some, Options()), 0.8)}


BASE = detector(1)
CHILD = tuned(BASE, 2)


def test_a_network_keeps_its_norms_where_it_has_their_statistics() -> None:
    assert keeps_norms(sketch_of(BASE)) is True and keeps_norms(sketch_of(exported(BASE))) is False
    assert keeps_norms(sketch_of({"layers.0.weight": np.ones((4, 4), np.float32)})) is None


def test_an_export_is_a_copy_of_the_model_whose_kernels_it_has_times_factors() -> None:
    models = {"base": BASE, "child": CHILD, "child.onnx": exported(CHILD), "base.onnx": exported(BASE)}
    said = decided(models)
    for name in ("base", "child"):
        export = said[f"{name}.onnx"]
        assert (export.parent, export.relation) == (name, Relation.COPY_OF) and export.reason.key == "folded"
    assert not said["child"].named & {"base.onnx", "child.onnx"} and not said["base"].named & {
        "base.onnx",
        "child.onnx",
    }


def test_an_export_of_another_tuning_is_related_and_neither_parent_nor_child() -> None:
    said = decided({"base": BASE, "child.onnx": exported(CHILD)})
    assert said["child.onnx"].answer is AnswerKind.UNDECIDED and said["child.onnx"].named == {"base"}
    assert said["base"].answer is AnswerKind.ROOT


def test_an_export_under_other_names_is_a_copy_too() -> None:
    export = {name.replace("model.", "graph.conv_"): values for name, values in exported(CHILD).items()}
    said = decided(
        {"child": {**CHILD, "model.0.bn.num_batches_tracked": np.array(7)}, "other": detector(5), "export": export}
    )
    assert (said["export"].parent, said["export"].relation) == ("child", Relation.COPY_OF)
    assert said["export"].evidence["renamed"] is True and said["child"].answer is AnswerKind.ROOT
    others = {f"graph-{n}": {k.replace("model", "net"): v for k, v in tuned(BASE, n).items()} for n in (3, 4)}
    said = decided({"base": BASE, "again": tuned(BASE, 5), **others, "export": export})
    assert said["export"].relation in (None, Relation.COPY_OF), (
        "beside models under a third naming it is no tuning either"
    )


def test_an_export_of_a_stranger_is_related_to_nothing() -> None:
    said = decided({"base": BASE, "stranger.onnx": exported(detector(3))})
    assert said["stranger.onnx"].answer is AnswerKind.NO_RELATIVES
