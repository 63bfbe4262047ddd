"""What an adapter changes, by the names that peft, diffusers and kohya write, and whether that fits a model."""

from __future__ import annotations

import pytest

from lineage.detect.adapter_fit import BaseStructure, base_structure, fit, with_modules_of
from lineage.detect.adapter_structure import AdapterStructure, structure_of
from lineage.detect.adapters import AdapterClaims, ClaimedBase, FittingModels, PossibleBase, decide_adapter
from lineage.detect.options import Options
from lineage.graphdb.schema import Relation

Layout = dict[str, tuple[int, ...]]


def llama(width: int = 32, layers: int = 2, vocabulary: int = 96, keys: int = 16, inner: int = 48) -> Layout:
    """Shapes as `LlamaForCausalLM` saves them."""
    found: Layout = {"model.embed_tokens.weight": (vocabulary, width), "lm_head.weight": (vocabulary, width)}
    for block in range(layers):
        path = f"model.layers.{block}"
        for name, shape in {"q": (width, width), "k": (keys, width), "v": (keys, width), "o": (width, width)}.items():
            found[f"{path}.self_attn.{name}_proj.weight"] = shape
        for name, shape in {"gate": (inner, width), "up": (inner, width), "down": (width, inner)}.items():
            found[f"{path}.mlp.{name}_proj.weight"] = shape
        found[f"{path}.input_layernorm.weight"] = found[f"{path}.post_attention_layernorm.weight"] = (width,)
    return found | {"model.norm.weight": (width,)}


def of_blocks(parts: Layout, module: str = "self_attn.q_proj") -> Layout:
    """Tensors of an adapter as peft 0.21 saved them, for both blocks."""
    prefix = "base_model.model.model.layers"
    return {f"{prefix}.{block}.{module}.{part}": shape for block in range(2) for part, shape in parts.items()}


LORA = of_blocks({"lora_A.weight": (4, 32), "lora_B.weight": (32, 4)})
SAVED_BY_PEFT = {
    "LoRA": LORA,
    "DoRA": of_blocks({"lora_A.weight": (4, 32), "lora_B.weight": (32, 4), "lora_magnitude_vector": (32,)}),
    "AdaLoRA": of_blocks({"lora_A": (12, 32), "lora_B": (32, 12), "lora_E": (12, 1)}),
    "IA3": of_blocks({"ia3_l": (16, 1)}, "self_attn.k_proj") | of_blocks({"ia3_l": (1, 48)}, "mlp.down_proj"),
    "LoHa": of_blocks({f"hada_w{i}_{half}": (32, 4) if half == "a" else (4, 32) for i in "12" for half in "ab"}),
    "LoKr": of_blocks({"lokr_w1": (4, 4), "lokr_w2": (8, 8)}),
    "VeRA": of_blocks({"vera_lambda_b": (32,), "vera_lambda_d": (4,)}) | {"base_model.vera_A": (4, 32)},
    "OFT": of_blocks({"oft_R.weight": (4, 28)}),
    "BOFT": of_blocks({"boft_R": (1, 4, 8, 8), "boft_s": (32, 1)}),
    "HRA": of_blocks({"hra_u": (32, 4)}),
    "MiSS": of_blocks({"miss_block": (4, 8, 8)}),  # of init_weights="bat"
    "C3A": of_blocks({"c3a_kernel": (2, 2, 16)}),
    "DeLoRA": of_blocks({"delora_A": (8, 32), "delora_B": (32, 8), "delora_lambda": (1,), "delora_w_norm": (32,)}),
    "GraLoRA": of_blocks({"gralora_A": (2, 16, 8), "gralora_B": (2, 8, 16)}),
    "Lily": of_blocks({"lily_A.weight": (8, 32), "lily_B.weight": (16, 32), "lily_router.weight": (2, 8)}),
    "OSF": of_blocks({f"osf_svd_params.{p}_low": s for p, s in {"S": (16,), "U": (32, 16), "V": (16, 32)}.items()}),
    "Poly": of_blocks(
        {"poly_lora_A": (1, 2, 32, 4), "poly_lora_B": (1, 2, 4, 32), "poly_router.module_logits": (2, 2)}
    ),
    "PVeRA": of_blocks({"pvera_lambda_b": (32,), "pvera_lambda_d": (64,)}) | {"base_model.pvera_A": (64, 32)},
    "RandLoRA": of_blocks({"randlora_lambda": (8, 4), "randlora_gamma": (4, 32)})
    | {"base_model.randlora_A": (8, 1, 32)},
    "TinyLoRA": of_blocks({"tinylora_A": (2, 32), "tinylora_B": (32, 2), "tinylora_P": (64, 2, 2)})
    | {"base_model.tinylora_v.0": (64,)},
    "AdaMSS": of_blocks({"adamss_A.0": (1, 16), "adamss_B.0": (9, 1), "adamss_newB": (16, 33)}, "self_attn.k_proj"),
    "BEFT": of_blocks({"beft_bias": (1, 16)}, "self_attn.v_proj"),
    "DEFT": of_blocks({"deft_P": (32, 8), "deft_R": (8, 48)}, "mlp.down_proj"),
    "GLoRA": of_blocks({"glora_A.Xd": (32, 8), "glora_A.Xu": (8, 48), "glora_D.zeros": (32,)}, "mlp.down_proj"),
    "PEANuT": of_blocks({"peanut_A.weight": (8, 16), "peanut_B.weight": (16, 8)}, "self_attn.k_proj"),
    "FRoD": of_blocks({"frod_lambda_l": (48,), "frod_lambda_s_values": (40,)}, "mlp.down_proj"),
    "Shadow": of_blocks({"shadow_down.default.weight": (8, 32), "shadow_up.default.weight": (32, 8)}),
    "VB-LoRA": of_blocks({"vblora_logits_A": (4, 6, 9), "vblora_logits_B": (4, 4, 9)}, "mlp.down_proj")
    | {"base_model.vblora_vector_bank": (9, 8)},
    "RoAd": of_blocks({"road_alpha": (24,), "road_theta": (24,)}, "mlp.gate_proj"),
    "SHiRA": of_blocks({"shira_indices": (2, 192), "shira_weight": (192,)}),
    "a tuned prompt": {"prompt_embeddings": (5, 32), "prefix_task_cols": (1, 5, 1), "prefix_task_rows": (1, 1, 32)},
    "tuned norms": of_blocks({"ln_tuning_layers.weight": (32,)}, "input_layernorm"),
}


def base(**sizes: int) -> BaseStructure:
    return base_structure(llama(**sizes))


@pytest.mark.parametrize("method", SAVED_BY_PEFT)
def test_what_peft_saves_fits_its_base_and_no_wider_one(method: str) -> None:
    adapter = structure_of(SAVED_BY_PEFT[method])
    assert adapter.method == method and adapter.broken is None
    found = fit(adapter, base())
    assert found.complete and found.misfit is None
    wide = fit(adapter, base(width=64, keys=32, inner=96))
    assert not wide.complete and wide.misfit is not None, wide
    if adapter.prompt is None:
        shallow = fit(adapter, base(layers=1))
        assert not shallow.complete and "block 1" in str(shallow.misfit)


OF_ANY_SIZE = {
    "SuperTuning": of_blocks({"supertuning_indices": (10,), "supertuning_values": (10,)}),
    "FourierFT": of_blocks({"fourierft_spectrum": (1000,)}),
    "PSOFT": of_blocks({"psoft_R.weight": (496,), "psoft_R.vector_a": (32,), "psoft_R.vector_b": (32,)}),
    "WaveFT": of_blocks({"waveft_spectrum": (259,)}),
    "an unknown method": of_blocks({"brandnew_core.weight": (7,), "brandnew_map": (3, 3, 3)})
    | {"base_model.brandnew_bank": (9, 9)},
}


@pytest.mark.parametrize("method", OF_ANY_SIZE)
def test_a_method_that_works_on_any_size_is_checked_by_the_names_of_its_modules(method: str) -> None:
    adapter = with_modules_of(structure_of(OF_ANY_SIZE[method]), base())
    assert adapter.summary() == f"{method} in q_proj (2 modules)"
    assert fit(adapter, base()).complete and fit(structure_of(OF_ANY_SIZE[method]), base()).complete
    assert "block 1" in str(fit(structure_of(OF_ANY_SIZE[method]), base(layers=1)).misfit)
    other = {f"encoder.layer.{i}.attention.self.query.weight": (32, 32) for i in range(2)}
    assert not fit(structure_of(OF_ANY_SIZE[method]), base_structure(other)).complete
    inside = {name.replace("model.", "model.language_model.", 1): shape for name, shape in llama().items()}
    assert fit(structure_of(OF_ANY_SIZE[method]), base_structure(inside)).complete


@pytest.mark.parametrize("method", ["FourierFT", "PSOFT", "WaveFT"])
def test_a_method_changes_no_more_values_than_the_weight_has(method: str) -> None:
    small = base(width=15, keys=15, inner=15)
    misfit = fit(structure_of(OF_ANY_SIZE[method]), small).misfit
    assert misfit is not None and "values and more" in misfit and "15 × 15" in misfit


@pytest.mark.parametrize("method", [m for m in OF_ANY_SIZE if m != "an unknown method"])
def test_where_any_size_does_the_answer_says_that_the_claim_alone_decides(method: str) -> None:
    claim = ClaimedBase("org/base", ("adapter_config",), (PossibleBase("id", "org/base", base()),))
    found = decide_adapter("a", structure_of(OF_ANY_SIZE[method]), AdapterClaims([claim]), FittingModels(), Options())
    assert found.relation is Relation.ADAPTER_OF and found.decided_by == ("declared",) and found.probability < 0.95
    assert "the claim alone decides" in found.reason.text()


def test_halves_of_an_unknown_method_are_checked_and_say_its_rank() -> None:
    halves = of_blocks({"brandnew_A.weight": (4, 32), "brandnew_B.weight": (32, 4), "brandnew_gate": (1,)})
    assert (adapter := with_modules_of(structure_of(halves), base())).ranks == (4,)
    assert fit(adapter, base()).complete
    assert "works on 32 × 32" in str(fit(structure_of(halves), base(width=64, keys=32, inner=96)).misfit)


def test_columns_of_miss_divide_the_outputs() -> None:
    columns = structure_of(of_blocks({"miss_block": (8, 48)}, "mlp.gate_proj"))
    assert fit(columns, base()).complete
    assert "a multiple of 48" in str(fit(columns, base(width=40, inner=64)).misfit)


def test_trained_tokens_are_as_wide_as_the_vocabulary() -> None:
    for module in ("embed_tokens", "embed_tokens.token_adapter"):
        tokens = structure_of({f"base_model.model.model.{module}.trainable_tokens_delta": (3, 32)})
        assert tokens.summary() == "trained tokens in embed_tokens (1 module)"
        assert fit(tokens, base()).complete
        assert fit(tokens, base(width=64)).misfit


def test_an_adapter_of_gpt_2_fits_weights_that_are_kept_the_other_way_around() -> None:
    layout = {f"transformer.h.{i}.attn.c_attn.weight": (32, 96) for i in range(2)} | {
        "transformer.wte.weight": (96, 32)
    }
    prefix = "base_model.model.transformer.h"
    halves = {
        f"{prefix}.{i}.attn.c_attn.lora_{half}.weight": (4, 32) if half == "A" else (96, 4)
        for i in range(2)
        for half in "AB"
    }
    assert fit(structure_of(halves), base_structure(layout)).complete


def test_rank_and_targets_are_named() -> None:
    adapter = structure_of(LORA)
    assert adapter.summary() == "LoRA of rank 4 in q_proj (2 modules)"
    assert (adapter.ranks, adapter.targets) == ((4,), ("q_proj",))


def test_paths_before_the_blocks_may_differ() -> None:
    inside = {name.replace("model.", "model.language_model.", 1): shape for name, shape in llama().items()}
    inside |= {f"model.visual.blocks.{i}.attn.qkv.weight": (96, 32) for i in range(4)}
    assert fit(structure_of(LORA), base_structure(inside)).complete
    bert = {f"encoder.layer.{i}.attention.self.query.weight": (32, 32) for i in range(2)}
    prefix = "base_model.model.bert.encoder.layer"
    halves = {
        f"{prefix}.{i}.attention.self.query.lora_{half}.weight": (4, 32) if half == "A" else (32, 4)
        for i in range(2)
        for half in "AB"
    }
    new_head = {"base_model.model.classifier.weight": (3, 32), "base_model.model.classifier.bias": (3,)}
    assert fit(structure_of(halves | new_head), base_structure(bert)).complete


def test_added_rows_of_the_vocabulary_are_no_contradiction_and_are_told() -> None:
    brought = LORA | {
        "base_model.model.model.embed_tokens.weight": (98, 32),
        "base_model.model.lm_head.weight": (98, 32),
    }
    found = fit(structure_of(brought), base())
    assert found.complete and found.vocabulary == (98, 96)
    assert fit(structure_of(brought), base(vocabulary=98)).vocabulary is None


def test_modules_that_a_newer_program_renamed_fit_block_by_block() -> None:
    renamed = {name.replace("self_attn.q_proj", "attention.query"): shape for name, shape in llama().items()}
    found = fit(structure_of(LORA), base_structure(renamed))
    assert found.complete and found.renamed and not found.named
    fewer = {name: shape for name, shape in renamed.items() if "layers.1" not in name}
    assert not fit(structure_of(LORA), base_structure(fewer)).complete


def test_names_that_nothing_bears_are_unknown_while_the_sizes_are_there() -> None:
    fused = {"model.all.weight": (32, 32), "model.other.weight": (32, 32)}
    found = fit(structure_of(LORA), base_structure(fused))
    assert not found.complete and found.misfit is None and len(found.unknown) == 2
    other = {f"encoder.layers.{i}.conv.weight": (24, 24) for i in range(2)}
    assert "no weight there has such sizes" in str(fit(structure_of(LORA), base_structure(other)).misfit)


@pytest.mark.parametrize(
    ("leaf", "shape", "packed"),
    [
        ("weight", (512, 1), True),
        ("qweight", (4, 32), False),
        ("weight_packed", (32, 4), False),
        ("weight", (32, 32), True),
    ],
)
def test_packed_weights_are_checked_by_their_number_of_values(leaf: str, shape: tuple[int, ...], packed: bool) -> None:
    names = {f"model.layers.{i}.self_attn.q_proj.{leaf}": shape for i in range(2)}
    structure = base_structure(names, names if packed else ())
    assert fit(structure_of(LORA), structure).complete
    wide = of_blocks({"lora_A.weight": (4, 40), "lora_B.weight": (40, 4)})
    assert fit(structure_of(wide), structure).misfit


UNET = {
    f"down_blocks.{i}.attentions.0.transformer_blocks.0.attn{j}.to_{part}.weight": (32, 32 if j == 1 or part == "q" else 24)
    for i in range(2) for j in (1, 2) for part in "qkv"
}  # fmt: skip
TEXT = {f"text_model.encoder.layers.{i}.self_attn.{part}_proj.weight": (24, 24) for i in range(2) for part in "qkv"}


def halves(shapes: Layout, name: str, ends: tuple[str, str], joined: bool = False) -> Layout:
    found: Layout = {}
    for tensor, (outputs, inputs) in shapes.items():  # type: ignore[misc]
        module = tensor.removesuffix(".weight")
        module = name.format(module.replace(".", "_") if joined else module)
        found |= {f"{module}.{ends[0]}": (4, inputs), f"{module}.{ends[1]}": (outputs, 4)}
    return found


def pipelines() -> dict[str, AdapterStructure]:
    kohya = ("lora_down.weight", "lora_up.weight")
    return {
        "kohya": structure_of(halves(UNET, "lora_unet_{}", kohya, True) | halves(TEXT, "lora_te_{}", kohya, True)),
        "diffusers": structure_of(
            halves(UNET, "unet.{}", ("lora_A.weight", "lora_B.weight"))
            | halves(TEXT, "text_encoder.{}", ("lora_A.weight", "lora_B.weight"))
        ),
        "first diffusers": structure_of(
            halves(UNET, "unet.{}", ("lora.down.weight", "lora.up.weight"))
            | halves(TEXT, "text_encoder.{}", ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"))
        ),
    }


@pytest.mark.parametrize("program", ["kohya", "diffusers", "first diffusers"])
def test_adapters_of_a_unet_and_a_text_encoder_fit_both_parts(program: str) -> None:
    adapter = pipelines()[program]
    assert set(adapter.components) == {"unet", "text_encoder"}
    assert fit(adapter, base_structure(UNET), "unet").complete
    assert fit(adapter, base_structure(TEXT), "text_encoder").complete
    wide = {name: tuple(2 * size for size in shape) for name, shape in UNET.items()}
    assert fit(adapter, base_structure(wide), "unet").misfit


def test_halves_that_do_not_fit_each_other_are_damaged() -> None:
    torn = of_blocks({"lora_A.weight": (4, 32), "lora_B.weight": (32, 8)})
    assert "ranks 4 and 8" in str(structure_of(torn).broken)
    assert "missing" in str(structure_of(of_blocks({"lora_A.weight": (4, 32)})).broken)
    huge = of_blocks({"lora_A.weight": (10**6, 32), "lora_B.weight": (32, 10**6)})
    assert "a rank of 1000000" in str(structure_of(huge).broken)
    assert not fit(structure_of(huge), base()).complete
