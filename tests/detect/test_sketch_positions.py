"""Where a sample is taken: the same places in every model of one backbone."""

from __future__ import annotations

from itertools import product
from time import process_time

import numpy as np

from bench.architectures import Spec
from bench.common_rows import LLAMA, OtherNames, common, convolution_pairs, llama, pairs, sampled_rows
from lineage.detect.row_match import corresponding
from lineage.detect.sketch import SKETCH_VERSION, plan
from tests.builders import sketch_of

GOLDEN_PLACES = [("attn.q.weight", (258048, 262144)), ("attn_norm.weight", (0, 512)), ("mlp.up.weight", (0, 4096))]

PLACES_OF_8B = {"0.mlp.gate_proj": 0, "4.mlp.up_proj": 14328, "8.self_attn.o_proj": 0, "12.self_attn.k_proj": 0,
                "19.self_attn.v_proj": 0, "23.self_attn.o_proj": 0, "27.self_attn.q_proj": 0, "31.mlp.gate_proj": 0}  # fmt: skip


def test_positions_of_a_tensor_depend_on_its_place_in_the_block_and_move_only_with_a_new_version() -> None:
    """Golden positions: whoever moves them must count SKETCH_VERSION up, or old and new sketches are compared at other places."""
    wide = 512

    def header(depth: int, prefix: str = "model.", vocabulary: int = 9000) -> list[Spec]:
        found = [
            Spec(f"{prefix}embed_tokens.weight", "BF16", (vocabulary, wide)),
            Spec("lm_head.weight", "BF16", (7, wide)),
        ]
        for i in range(depth):
            at = f"{prefix}layers.{i}."
            found += [Spec(f"{at}{n}.weight", "BF16", (wide, wide)) for n in ("attn.k", "attn.q", "mlp.up")]
            found += [Spec(f"{at}{n}.weight", "BF16", (wide,)) for n in ("attn_norm", "mlp_norm")]
        return found

    def places(header: list[Spec], block: int, prefix: str = "model.layers.") -> dict[str, tuple[int, int]]:
        at = f"{prefix}{block}."
        return {b.tensor.removeprefix(at): (b.start, b.stop) for b in plan(header) if b.tensor.startswith(at)}

    assert SKETCH_VERSION == 5
    deep, shallow = places(header(12), 3), places(header(6), 5)
    shared = [name for name in deep.keys() & shallow.keys() if name.startswith(("attn.", "mlp."))]
    assert shared and all(max(deep[n][0], shallow[n][0]) < min(deep[n][1], shallow[n][1]) for n in shared)
    assert places(header(12, "0.auto_model.", 9001), 3, "0.auto_model.layers.") == deep
    assert {name for name in deep if "norm" in name}, "norms are in the sample"
    assert any(b.tensor == "model.embed_tokens.weight" and b.start == 256 * wide for b in plan(header(12)))
    assert sorted(deep.items()) == GOLDEN_PLACES


def test_models_under_other_names_have_sampled_rows_in_common_though_they_are_too_large_to_be_taken_whole() -> None:
    rng = np.random.default_rng(0)
    wide, depth = 128, 6
    own, other = {}, {}
    for i in range(depth):
        parts = {p: rng.normal(size=(wide, wide)).astype(np.float32) for p in "qkvo"}
        up, down = (rng.normal(size=s).astype(np.float32) for s in ((4 * wide, wide), (wide, 4 * wide)))
        own |= {
            f"blocks.{i}.attn.qkv.weight": np.concatenate([parts[p] for p in "qkv"]),
            f"blocks.{i}.attn.proj.weight": parts["o"],
        }
        own |= {f"blocks.{i}.mlp.fc1.weight": up, f"blocks.{i}.mlp.fc2.weight": down}
        other |= {
            f"encoder.layer.{i}.attention.{n}.weight": parts[p]
            for n, p in zip(("query", "key", "value"), "qkv", strict=True)
        }
        other |= {f"encoder.layer.{i}.attention.output.dense.weight": parts["o"]}
        other |= {f"encoder.layer.{i}.intermediate.dense.weight": up, f"encoder.layer.{i}.output.dense.weight": down}
    first, second = sketch_of(own), sketch_of(other)
    assert first.sampled_values < first.total_values and second.sampled_values < second.total_values
    assert corresponding(first, second).kin and corresponding(second, first).kin


def test_large_models_are_sampled_in_the_same_rows_whatever_their_tensors_are_called_and_however_they_are_fused() -> (
    None
):
    for called, own, other in pairs():
        tensors, values, everything = common(own, other)
        assert tensors >= 6 and values >= 0.6 * everything, called


def test_networks_of_convolutions_have_sampled_rows_in_common_under_other_names() -> None:
    for called, own, other in convolution_pairs():
        tensors, values, everything = common(own, other)
        assert tensors >= 6 and values >= 0.1 * everything, called


def test_of_an_8b_model_each_kind_of_narrow_matrix_is_in_the_sample() -> None:
    """What adapters change most often, query and value, is; so are the rows that other namings have as well."""
    own = llama(*LLAMA["Llama 8B"])
    rows = {name: (run.start, run.stop) for name, run in sampled_rows(own).items() if name.startswith("model.layers.")}
    assert rows == {f"model.layers.{name}.weight": (first, first + 8) for name, first in PLACES_OF_8B.items()}


def test_networks_whose_blocks_lie_in_other_lists_under_other_names_have_sampled_rows_in_common() -> None:
    """As the U-Net of a diffusion model: stages with lists of their own, or one list through all stages."""
    own: dict[str, tuple[int, ...]] = {}
    made_of: dict[str, list[str]] = {}
    for side, listed in (("down_blocks", "input_blocks"), ("up_blocks", "output_blocks")):
        for stage, wide in enumerate((320, 640, 1280) if side == "down_blocks" else (1280, 640, 320)):
            for layer, depth in product(range(2), range({320: 1, 640: 2, 1280: 10}[wide])):
                at, other = f"{side}.{stage}", f"model.{listed}.{3 * stage + layer + 1}"
                parts = {"attn1.to_q": wide, "attn1.to_out.0": wide, "ff.net.0.proj": 8 * wide}
                for part, rows in parts.items():
                    name = f"{at}.attentions.{layer}.transformer_blocks.{depth}.{part}.weight"
                    own[name] = (rows, wide)
                    made_of[f"{other}.1.transformer_blocks.{depth}.{part}.weight"] = [name]
                for part, called in (("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1")):
                    name = f"{at}.resnets.{layer}.{part}.weight"
                    own[name] = (wide, wide, 3, 3) if part == "conv1" else (wide, 1280)
                    made_of[f"{other}.0.{called}.weight"] = [name]
    shapes = {other: own[name] for other, (name,) in made_of.items()}
    tensors, values, everything = common(own, OtherNames(shapes, made_of, {}))
    assert tensors >= 6 and values >= 0.2 * everything


def test_what_a_block_of_many_matrices_costs_grows_with_their_number() -> None:
    header = [Spec(f"layers.{block}.part{i}.weight", "F32", (4, 4)) for i in range(1_000) for block in range(2)]
    began = process_time()
    assert len(plan(header, 10_000)) == 32
    assert process_time() - began < 3  # 20 seconds where each matrix sorts its block


def test_the_head_and_what_is_no_repeated_block_are_in_the_sample_of_a_network_of_stages() -> None:
    """Who trains the last stage or the head alone changes something that is looked at."""
    header = []
    for stage, (wide, depth) in enumerate(((96, 1), (192, 3), (384, 1))):
        for block in range(depth):
            at = f"stages.{stage}.blocks.{block}.mlp"
            header += [
                Spec(f"{at}.fc1.weight", "F32", (4 * wide, wide, 1, 1)),
                Spec(f"{at}.fc2.weight", "F32", (wide, 4 * wide, 1, 1)),
            ]
    header += [Spec("head.fc.weight", "F32", (1000, 384)), Spec("head.norm.weight", "F32", (384,))]
    taken = {block.tensor: block.stop - block.start for block in plan(header)}
    assert sum(taken.values()) < 300_000
    assert any(name.startswith("stages.0.") for name in taken) and any(name.startswith("stages.2.") for name in taken)
    assert 4_000 < taken["head.fc.weight"] <= 16_384 and taken["head.norm.weight"] == 384
