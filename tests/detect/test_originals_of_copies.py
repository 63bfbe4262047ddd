"""The original of a quantized copy is told from its sisters, and a copy whose original is missing gets none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

import lineage
from lineage.commands import main
from lineage.crawler.packing.numbers import FLOAT4, decoded
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect import sampled_values
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.packing_format import bits_of
from lineage.detect.pipeline import decide
from lineage.detect.quantized_copies import ORIGINAL_UNSEEN
from lineage.detect.rounding_levels import outside_near_zero
from lineage.detect.sampled_values import SampledValues
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.schema import Relation
from lineage.graphdb.store import open_store
from lineage.queries.parent_query import parent_of
from tests.builders import Weights, sketch_of, start, tune
from tests.crawler.toys import hub_at
from tests.fake_hub import FakeHub

OPTIONS = Options(detector=False)
SHAPES = {f"layers.{i}.{part}": shape for i in range(3) for part, shape in {
    "norm.weight": (128,), "first.weight": (192, 128), "second.weight": (128, 192),
}.items()}  # fmt: skip
SHAPES = {"embed_tokens.weight": (64, 128), **SHAPES, "norm.weight": (128,)}


def family(moved: float = 0.02, frozen: bool = False) -> dict[str, Weights]:
    """A base and three children; frozen: norms and embeddings are the base's."""
    base = start(3, SHAPES)
    found = {"base": base}
    for name, seed in {"one": 4, "two": 5, "three": 6}.items():
        child = tune(base, seed, moved, decay=0.0)
        if frozen:
            child |= {name: values for name, values in base.items() if "norm" in name or "embed" in name}
        found[name] = child
    return found


def packed(weights: Weights, bits: int = 4, block: int = 32) -> Weights:
    """Matrices of blocks rounded to the nearest of few levels, as float32; the rest in float16, as quantizers write it."""
    most, out = 2 ** (bits - 1) - 1, {}
    for name, values in weights.items():
        out[name] = values.astype(np.float16)
        if values.ndim == 2 and "embed" not in name:
            rows = values.reshape(-1, block)
            scale = np.abs(rows).max(1, keepdims=True) / most
            out[name] = (np.round(rows / scale) * scale).reshape(values.shape).astype(np.float32)
    return out


def decided(models: dict[str, Weights], how: str = "bitsandbytes 4 bits", **more: Any) -> dict[str, Decision]:
    subjects = [
        Subject(n, sketch_of(w, n), quantization=how if n.startswith("copy") else None, **(more if n == "copy" else {}))
        for n, w in models.items()
    ]
    return {d.model: d for d in decide(subjects, OPTIONS)}


@pytest.mark.parametrize("original", ["base", "one", "three"])
def test_values_that_were_left_alone_tell_the_original_from_its_sisters(original: str) -> None:
    models = family()
    found = decided(models | {"copy": packed(models[original])})
    copy = found["copy"]
    assert (copy.parent, copy.relation) == (original, Relation.QUANTIZED_FROM) and copy.probability > 0.95
    assert (copy.evidence["format"], copy.evidence["bits"]) == ("bitsandbytes 4 bits", 4)
    assert "values that were not packed are those of" in str(copy.reason)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_sisters_nearer_than_the_rounding_are_told_apart_by_all_values_together(bits: int) -> None:
    models = family(moved=0.02, frozen=True)
    for original in models:
        found = decided(models | {"copy": packed(models[original], bits)}, f"bitsandbytes {bits} bits")
        assert (found["copy"].parent, found["copy"].relation) == (original, Relation.QUANTIZED_FROM)


def test_sisters_that_no_value_tells_apart_are_both_named_until_a_claim_decides() -> None:
    models = family(moved=1e-5, frozen=True)
    del models["two"], models["three"]
    models["copy"] = packed(models["one"], 2)
    tie = decided(models, "bitsandbytes 2 bits")["copy"]
    assert tie.answer is AnswerKind.UNDECIDED and {c.parent for c in tie.candidates} == {"base", "one"}
    assert "cannot tell" in str(tie.reason)
    claimed = decided(models, "bitsandbytes 2 bits", declared=frozenset({"one"}))["copy"]
    assert claimed.parent == "one" and claimed.decided_by == ("content", "declared")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_copy_whose_original_is_missing_is_from_none_of_its_sisters(frozen: bool) -> None:
    models = family(moved=0.05, frozen=frozen)
    models["copy"] = packed(models.pop("one"))
    copy = decided(models)["copy"]
    assert copy.answer is AnswerKind.UNDECIDED and copy.parent is None
    assert "a model that is not at hand" in str(copy.reason)


def in_small_floats(weights: Weights, levels: np.ndarray) -> Weights:
    """Matrices of blocks of 32 values, each the nearest level times a power of two."""
    out, middles = {}, (levels[1:] + levels[:-1]) / 2
    for name, values in weights.items():
        out[name] = values.astype(np.float16)
        if values.ndim == 2 and "embed" not in name:
            rows = values.reshape(-1, 32)
            scale = np.exp2(np.ceil(np.log2(np.abs(rows).max(1, keepdims=True) / levels[-1])))
            near = levels[np.searchsorted(middles, np.abs(rows) / scale)]
            out[name] = (np.sign(rows) * near * scale).reshape(values.shape).astype(np.float32)
    return out


@pytest.mark.parametrize(("how", "bits"), [("mlx mxfp4", 4), ("mlx mxfp8", 8), ("mlx nvfp4", 4)])
def test_a_copy_in_small_floats_is_not_from_the_only_relative_of_its_original(how: str, bits: int) -> None:
    models = family(moved=0.02, frozen=True)
    levels = np.unique(np.abs(FLOAT4 if bits == 4 else decoded(bytes(range(127)), "F8_E4M3")))
    models = {"one": models["one"], "base": models["base"], "copy": in_small_floats(models["one"], levels)}
    found = decided(models, how)["copy"]
    assert (found.parent, found.relation, found.evidence["bits"]) == ("one", Relation.QUANTIZED_FROM, bits)
    del models["one"]
    assert decided(models, how)["copy"].parent is None


def turned(weights: Weights) -> Weights:
    """The same as GPT-2 lays its layers, (inputs, outputs), the first of them queries, keys and values."""
    names = {"first": "attn.c_attn", "second": "attn.c_proj"}
    found: Weights = {}
    for name, values in weights.items():
        parts = [names.get(part, part) for part in name.split(".")]
        found[".".join(parts).replace("layers", "h")] = values.T if values.ndim == 2 and "embed" not in name else values
    return found


def test_levels_of_layers_that_lie_as_inputs_by_outputs_are_seen_down_their_columns() -> None:
    shapes = {n: (384, 128) if "first" in n else (128, 128) if "second" in n else s for n, s in SHAPES.items()}
    base = start(3, shapes)
    moved = {
        n: v if "norm" in n or "embed" in n else w
        for (n, v), w in zip(base.items(), tune(base, 4, 0.02).values(), strict=True)
    }
    copy = Subject("copy", sketch_of(turned(packed(base)), "copy"), quantization="bitsandbytes 4 bits")
    original, sister = (Subject(n, sketch_of(turned(w), n)) for n, w in {"base": base, "sister": moved}.items())
    names = [name for name in copy.sketch.samples if "attn" in name]
    for model, least, most in ((original, 0.0, 0.0), (sister, 0.01, 1.0)):
        seen = outside_near_zero(copy, model, names, SampledValues(), 16, even=False)
        share = sum(outside for outside, _, _ in seen.values()) / sum(values for _, values, _ in seen.values())
        assert seen and least <= share <= most


def test_one_part_of_an_eight_bit_copy_that_lies_farther_off_is_of_a_model_not_at_hand() -> None:
    """As of a model that was adapted in a few layers, whose levels the sample does not show."""
    models = family(moved=0.03, frozen=True)
    changed = tune(models["base"], 9, 0.06, decay=0.0)
    original = {n: changed[n] if n == "layers.1.first.weight" else v for n, v in models["base"].items()}
    models["copy"] = packed(original, 8, block=4)
    copy = decided(models, "hqq 8 bits")["copy"]
    assert copy.parent is None and copy.evidence["relative_distance"] < 0.04
    models["true"] = original
    assert decided(models, "hqq 8 bits")["copy"].parent == "true"


def compensated(weights: Weights, reordered: bool) -> Weights:
    """As GPTQ packs: column by column, each column's error made good by the next ones; the scales are of rows, or of rows of columns
    taken in turn, as where they were reordered."""
    out = packed(weights)
    for name, values in weights.items():
        if values.ndim == 2 and "embed" not in name:
            left, done = values.astype(np.float64).copy(), np.zeros(values.shape)
            for column in range(left.shape[1]):
                part = left[:, column % 4 :: 4] if reordered else left
                scale = np.abs(part).max(1) / 7
                done[:, column] = np.round(left[:, column] / scale).clip(-7, 7) * scale
                error = left[:, column] - done[:, column]
                left[:, column + 1 : column + 4] += (
                    error[:, None] * np.array([0.3, 0.2, 0.1])[: left.shape[1] - column - 1]
                )
            out[name] = done.astype(np.float32)
    return out


@pytest.mark.parametrize("reordered", [False, True])
def test_where_errors_were_made_good_by_other_columns_a_sister_is_not_taken_for_the_missing_original(
    reordered: bool,
) -> None:
    models = family(moved=0.01, frozen=True)
    models["copy"] = compensated(models["base"], reordered)
    found = decided(models, "gptq 4 bits")["copy"]
    assert (found.parent, found.relation) == ("base", Relation.QUANTIZED_FROM)
    del models["base"]
    found = decided(models, "gptq 4 bits")["copy"]
    assert found.parent is None and "a model that is not at hand" in str(found.reason)


def test_a_copy_of_an_unseen_family_is_no_root() -> None:
    alone = decided({"copy": packed(start(1, SHAPES))})["copy"]
    strangers = decided({**family(), "copy": packed(start(9, SHAPES))})["copy"]
    for copy in (alone, strangers):
        assert copy.answer is AnswerKind.UNDECIDED and not copy.candidates
        assert str(copy.reason) == "a quantized copy; its original is not known"


@pytest.mark.slow
def test_copies_change_no_other_decision_and_are_the_parent_of_no_model() -> None:
    models = family(moved=0.1)
    copies = {f"copy-{bits}": packed(models["base"], bits) for bits in (3, 4, 8)}
    copies["copy-of-one"] = packed(models["one"])
    copies["copy-again"] = copies["copy-4"]
    without, found = decided(models), decided(models | copies)
    assert {name: found[name] for name in models} == without
    assert not [d for d in found.values() if d.parent in copies and d.relation is not Relation.COPY_OF]
    assert {found[name].parent for name in ("copy-3", "copy-8", "copy-again")} == {"base"}


def test_scales_moved_between_norms_and_matrices_hide_no_original() -> None:
    """As AWQ does it: the norm is divided by scales that the columns of the next matrix are multiplied with."""
    models = family(moved=0.05)
    smoothed = {name: values.copy() for name, values in models["two"].items()}
    scales = np.random.default_rng(0).uniform(0.5, 2, 128).astype(np.float32)
    for i in range(3):
        smoothed[f"layers.{i}.norm.weight"] /= scales
        smoothed[f"layers.{i}.first.weight"] *= scales
    copy = decided(models | {"copy": packed(smoothed)}, "awq 4 bits")["copy"]
    assert (copy.parent, copy.relation) == ("two", Relation.QUANTIZED_FROM)
    del models["two"]
    assert decided(models | {"copy": packed(smoothed)}, "awq 4 bits")["copy"].parent is None


def to_eight_bit_floats(weights: Weights) -> Weights:
    """Matrices of blocks in floats of three bits after the point, one scale for each tensor."""
    out = {}
    for name, values in weights.items():
        out[name] = values
        if values.ndim == 2 and "embed" not in name:
            step = np.exp2(np.floor(np.log2(np.maximum(np.abs(values), 1e-12))) - 3)
            out[name] = (np.round(values / step) * step).astype(np.float32)
    return out


def test_a_quantizer_that_rounds_values_as_they_are_has_moved_no_scales() -> None:
    """A sister with some rows and columns scaled, as merged IA3 has them, is not the original of a copy."""
    base = family()["base"]
    scaled = {name: values.copy() for name, values in base.items()}
    scales = np.random.default_rng(0).uniform(0.8, 1.25, 192).astype(np.float32)
    for i in range(3):
        scaled[f"layers.{i}.first.weight"] *= scales[:, None]
        scaled[f"layers.{i}.second.weight"] *= scales
    for how, copy in (("fp8", to_eight_bit_floats(base)), ("bitsandbytes 8 bits", packed(base, 8))):
        assert decided({"scaled": scaled, "copy": copy}, how)["copy"].parent is None
        assert decided({"base": base, "scaled": scaled, "copy": copy}, how)["copy"].parent == "base"


def test_one_tensor_of_a_copy_in_eight_bit_floats_lies_no_farther_off_than_the_others() -> None:
    base = family()["base"]
    tuned = base | {name: tune({name: base[name]}, 9, 0.06, 0.0)[name] for name in ("layers.1.second.weight",)}
    copy = to_eight_bit_floats(base)
    assert decided({"tuned": tuned, "copy": copy}, "fp8")["copy"].parent is None
    assert decided({"tuned": tuned, "base": base, "copy": copy}, "fp8")["copy"].parent == "base"


@pytest.mark.slow
def test_among_many_models_only_the_nearest_are_compared_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    models = family(moved=0.1)
    copies = {"copy": packed(models["two"]), "copy-8": packed(models["one"], 8)}
    everything = decided(models | copies)
    monkeypatch.setattr(sampled_values, "CANDIDATES", 2)
    monkeypatch.setattr(sampled_values, "KEPT_VALUES", 1_000)
    few = decided(models | copies)
    assert {name: few[name].parent for name in copies} == {"copy": "two", "copy-8": "one"}
    assert few["copy"].probability == everything["copy"].probability


def test_a_cast_is_called_a_cast() -> None:
    models = family()
    half = {name: values.astype(np.float16) for name, values in models["one"].items()}
    for name in ("half", "copy"):
        found = decided(models | {name: half}, "gguf F16")[name]
        assert (found.parent, found.relation) == ("one", Relation.QUANTIZED_FROM)
        assert str(found.reason).startswith("cast to fp16")


@pytest.mark.parametrize(("how", "known"), [("gguf F16", True), ("gguf Q8_0", False)])
def test_a_cast_of_a_model_that_is_not_at_hand_is_a_model_like_others(how: str, known: bool) -> None:
    models = family()
    half = {name: values.astype(np.float16) for name, values in models.pop("two").items()}
    found = decided(models | {"copy": half}, how)
    assert (found["copy"].reason.key in ORIGINAL_UNSEEN) is not known
    assert (found["copy"].evidence.get("family_size") == len(models) + 1) is known
    assert found["copy"].relation is not Relation.QUANTIZED_FROM


@pytest.mark.parametrize(
    ("how", "bits"),
    [("gptq 4 bits", 4), ("gguf Q4_K_M", 4), ("gguf IQ3_XXS", 3), ("fp8", 8), ("bitsandbytes nf4", 4), ("aqlm", None)],
)
def test_bits_are_read_from_the_name_of_a_packing(how: str, bits: int | None) -> None:
    assert bits_of(how) == bits


def write_int8(weights: Weights, path: Path) -> None:
    """As bitsandbytes saves eight bits."""
    out: dict[str, np.ndarray] = {}
    for name, values in weights.items():
        if values.ndim == 2 and "embed" not in name:
            most = np.abs(values).max(1)
            out[name] = np.round(values / most[:, None] * 127).astype(np.int8)
            out[name.removesuffix("weight") + "SCB"] = most
        else:
            out[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(out, path)


@pytest.mark.slow
def test_every_road_names_the_original_of_a_packed_copy(tmp_path: Path) -> None:
    models = family()
    for name, weights in models.items():
        save_file(weights, tmp_path / f"{name}.safetensors")
    write_int8(models["two"], tmp_path / "packed.safetensors")
    scanned = lineage.scan(tmp_path)["packed"]
    home = tmp_path.parent / "home"
    with open_store(str(home)) as graph:
        sketches = SketchStore(home / "sketches")
        crawl_into(graph, sketches, home / "p.sqlite", CrawlOptions(folder=tmp_path))
        detect_into(graph, sketches, Options(), "run")
        model = graph.model("packed")
        assert model is not None and model.quantization == "bitsandbytes 8 bits"
        (stored,) = parent_of(graph, model).accepted
    explained = lineage.explain(tmp_path / "packed.safetensors", tmp_path / "two.safetensors")
    assert (scanned.parent, scanned.relation) == ("two", "QUANTIZED_FROM")
    assert "two" in stored["repo_id"] and stored["kind"] == "QUANTIZED_FROM"
    assert explained.decision.parent == explained.parent


@pytest.mark.slow
def test_a_packed_copy_on_the_hub_is_read_by_ranges_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = family()
    write_int8(models["two"], tmp_path / "packed" / "model.safetensors")
    with FakeHub() as fake:
        for name, weights in models.items():
            fake.add_repo(f"acme/{name}", {"model.safetensors": save(weights)})
        fake.add_repo("q/packed", {"model.safetensors": (tmp_path / "packed" / "model.safetensors").read_bytes()})
        with open_store(str(tmp_path / "home")) as graph:
            sketches = SketchStore(tmp_path / "home" / "sketches")
            crawl_into(graph, sketches, tmp_path / "p.sqlite", CrawlOptions(), hub=hub_at(fake))
            detect_into(graph, sketches, Options(), "run")
            model = graph.model("q/packed")
            assert model is not None
            (stored,) = parent_of(graph, model).accepted
            assert (stored["repo_id"], stored["kind"]) == ("acme/two", "QUANTIZED_FROM")
    store = str(tmp_path / "home")
    for wanted, code, said in (("acme/two", 0, "quantized from acme/two"), ("acme/one", 5, "acme/two")):
        with pytest.raises(SystemExit) as ended:
            main(["verify", "q/packed", "--quantized-from", wanted, "--store", store])
        assert ended.value.code == code and said in capsys.readouterr().out
    fetched = str(tmp_path / "packed" / "model.safetensors")
    for wanted, code, said in (("acme/two", 0, "the weights of q/packed"), ("acme/one", 5, "a copy of q/packed")):
        with pytest.raises(SystemExit) as ended:
            main(["verify", fetched, "--quantized-from", wanted, "--store", store])
        assert ended.value.code == code and said in capsys.readouterr().out
