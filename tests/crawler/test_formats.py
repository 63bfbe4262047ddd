"""What repositories hold beside one set of plain numbers: GGUF, packed numbers, pipelines, adapters under other names."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from lineage.crawler.headers import TensorHeader
from lineage.crawler.hub import Hub
from lineage.crawler.open_model import NoSuchPart, open_model
from lineage.crawler.pipeline_components import parts_of
from lineage.crawler.quantized_claims import quantization_in, quantization_of
from lineage.graphdb.schema import Model, Status
from tests.crawler.crawls import Crawl
from tests.crawler.ggufs import Q, llama, write
from tests.crawler.toys import hub_at, model_file
from tests.fake_hub import FakeHub

PIPELINE = {
    "model_index.json": b'{"_class_name": "ToyPipeline"}',
    "unet/diffusion_pytorch_model.safetensors": model_file(1),
    "unet/diffusion_pytorch_model.fp16.safetensors": model_file(11),
    "vae/diffusion_pytorch_model.safetensors": model_file(2, tensors=3),
    "text_encoder/model.safetensors": model_file(3, tensors=4),
    "toy-v1.safetensors": model_file(4),
    "scheduler/scheduler_config.json": b"{}",
}


def test_a_gguf_copy_meets_its_original_under_one_signature(fake: FakeHub, crawler: Crawl, tmp_path: Path) -> None:
    fake.add_repo("acme/base", {"model.safetensors": save(llama())})
    files = {f"base.{kind.name}.gguf": write(tmp_path / kind.name, llama(), kind) for kind in (Q.Q4_0, Q.Q8_0)}
    fake.add_repo("other/base-GGUF", files)
    models = crawler.models()
    copy, base = models["other/base-GGUF"], models["acme/base"]
    assert copy.status is Status.SKETCHED and copy.signature == base.signature
    assert copy.quantization == "gguf Q8_0" and copy.weights_digest != base.weights_digest
    one, other = (crawler.sketches.get(m.weights_digest or "") for m in (copy, base))
    for name, sample in one.samples.items():
        true = other.samples[name].values()
        assert np.linalg.norm(sample.values() - true) < 0.01 * np.linalg.norm(true)
    again = crawler.models()
    assert again["other/base-GGUF"] == copy and crawler.requests() == {"list": 1}


def test_a_gguf_that_cannot_be_read_says_why(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/broken", {"m.Q8_0.gguf": b"GGUF" + bytes(100)})
    fake.add_repo("acme/half", {"m-00001-of-00002.gguf": b"GGUF"})
    models = crawler.models()
    assert {m.status for m in models.values()} == {Status.UNREADABLE}
    assert "not known" in (models["acme/broken"].reason or "") and "gguf" in (models["acme/half"].reason or "")


def packed(how: str) -> dict[str, np.ndarray]:
    ints, halves = np.zeros((8, 8), np.int32), np.ones((8, 8), np.float16)
    return {
        "gptq": {"l.qweight": ints, "l.qzeros": ints, "l.scales": halves, "l.g_idx": ints},
        "awq": {"l.qweight": ints, "l.qzeros": ints, "l.scales": halves},
        "bnb4": {"l.weight": np.zeros((8, 1), np.uint8), "l.weight.absmax": halves, "l.weight.quant_map": halves},
        "bnb8": {"l.weight": np.zeros((8, 8), np.int8), "l.SCB": np.ones(8, np.float32)},
    }[how]


@pytest.mark.parametrize(
    ("how", "said"),
    [("gptq", "gptq"), ("awq", "awq or gptq"), ("bnb4", "bitsandbytes"), ("bnb8", "bitsandbytes 8 bits")],
)
def test_packed_numbers_are_recognised_by_their_tensors(how: str, said: str, fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/m", {"model.safetensors": save(packed(how))})
    model = crawler.models()["acme/m"]
    assert (model.quantization or "").startswith(said)
    assert crawler.models()["acme/m"] == model and crawler.requests() == {"list": 1}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq 4 bits"),
        ({"quant_method": "awq", "w_bit": 4}, "awq 4 bits"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes 4 bits"),
        ({"load_in_8bit": True}, "bitsandbytes 8 bits"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 4, "type": "int"}}}},
            "compressed-tensors 4 bits",
        ),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": 1, "b": {"weights": []}}}, "compressed-tensors"),
        ({"quant_method": ["x"]}, "an unknown method"),
        ("none", None),
        (None, None),
    ],
)
def test_packed_numbers_are_recognised_by_the_configuration(config: object, said: str | None) -> None:
    assert quantization_of({"quantization_config": config}) == said


def test_fp8_is_recognised_by_its_dtype_and_plain_numbers_are_not() -> None:

    assert quantization_in([TensorHeader("a.weight", "F8_E4M3", (1,), "f", 0, 1)]) == "fp8"
    assert quantization_in([TensorHeader("a.weight", "BF16", (1,), "f", 0, 2)]) is None


PACKED = {
    "mlx": {"weight": "U32", "scales": "F16", "biases": "F16"},
    "int8": {"weight": "I8", "weight_scale": "F32"},
    "uint8": {"weight": "U8", "scale": "F32", "zero_point": "F32"},
    "fp8": {"weight": "F8_E4M3", "weight_scale_inv": "F32"},
    "fp4": {"weight": "F4", "weight_scale": "F32"},
    "exl2": {"q_weight": "I32", "q_scale": "I32", "q_scale_max": "F16", "q_groups": "I16", "q_invperm": "I32"},
    "hqq": {"W_q": "U8", "scale": "F16", "zero": "F16"},
    "gptq": {"qweight": "I32", "qzeros": "I32", "scales": "F16", "g_idx": "I32"},
    "awq or gptq": {"qweight": "I32", "qzeros": "I32", "scales": "F16"},
    "aqlm": {"codes": "I16", "codebooks": "F16", "scales": "F16"},
    "bitsandbytes": {"weight": "U8", "weight.absmax": "U8"},
    "bitsandbytes 8 bits": {"weight": "I8", "SCB": "F32"},
    "compressed-tensors": {"weight_packed": "I32", "weight_scale": "BF16"},
    "whole numbers with scales": {"weight": "I16", "scales": "F32"},
}


@pytest.mark.parametrize("how", PACKED)
def test_packed_numbers_are_known_without_a_configuration(how: str) -> None:
    header = [
        TensorHeader(f"layers.{i}.{name}", d, (64, 64), "f", 0, 0) for i in (0, 1) for name, d in PACKED[how].items()
    ]
    norm = TensorHeader("norm.weight", "F16", (64,), "f", 0, 0)
    assert quantization_in([norm, *header]) == how


@pytest.mark.parametrize(
    "tensors",
    [
        {"attn.weight": "F16", "attn.bias": "U8", "attn.masked_bias": "F16"},
        {"embeddings.position_ids": "I64", "embeddings.weight": "F32"},
        {"bn.weight": "F32", "bn.num_batches_tracked": "I64", "bn.running_var": "F32"},
        {"logit_scale": "F32", "visual.proj": "F32", "ids": "I32"},
        {"table.weight": "F32", "table.index": "I32", "norm.scale": "F32"},
    ],
)
def test_whole_numbers_beside_plain_weights_are_no_packing(tensors: dict[str, str]) -> None:
    assert quantization_in([TensorHeader(name, dtype, (64, 64), "f", 0, 0) for name, dtype in tensors.items()]) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"quantization": {"group_size": 32, "bits": 4}}, "mlx 4 bits"),
        (
            {"quantization": {"group_size": 32, "bits": 4}, "quantization_config": {"group_size": 32, "bits": 4}},
            "mlx 4 bits",
        ),
        ({"quantization_config": {"group_size": 32, "bits": 8, "mode": "affine"}}, "mlx 8 bits"),
        ({"quantization_config": {"group_size": 32, "bits": 8, "mode": "mxfp8"}}, "mlx mxfp8"),
        ({"quantization_config": {"group_size": 32, "bits": 8, "mode": ["affine"]}}, "an unknown method 8 bits"),
        ({"quantization": {"quant_algo": "FP8"}}, "FP8"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"compression_config": {"format": "int-quantized"}}, "compressed-tensors"),
        ({"quantization_config": {"quant_method": "exl2", "bits": 4.5}}, "exl2"),
        ({"quantization_config": {}}, None),
        ({"quantization": None}, None),
        ({"quantization": "a\nb"}, None),
    ],
)
def test_configurations_say_it_under_several_names(config: dict, said: str | None) -> None:
    assert quantization_of(config) == said


def test_a_quantized_model_with_its_base_keeps_the_claim_and_the_reason(fake: FakeHub, crawler: Crawl) -> None:
    config = b'{"quantization_config": {"quant_method": "gptq", "bits": 4}}'
    card = b"---\nbase_model: acme/base\nbase_model_relation: quantized\n---\n"
    files = {
        "config.json": config,
        "README.md": card,
        "model.safetensors": save({"l.qweight": np.zeros((8, 8), np.int32)}),
    }
    fake.add_repo("acme/m", files)
    (batch,) = crawler.run()
    assert batch.models[0].reason == "quantized: gptq 4 bits: none of its numbers can be compared"
    assert {(d.base, d.relation) for d in batch.declarations} == {("acme/base", "quantized")}


def test_the_components_of_a_pipeline_are_models_of_their_own(fake: FakeHub, crawler: Crawl) -> None:
    whole = fake.add_repo("acme/pipe", PIPELINE).hub_id
    fake.add_repo("acme/unet-copy", {"diffusion_pytorch_model.safetensors": model_file(1)})
    models = crawler.models()
    parts = {name: model for name, model in models.items() if name.startswith("acme/pipe/")}
    assert set(parts) == {f"acme/pipe/{part}" for part in ("unet", "vae", "text_encoder")}
    assert {m.hub_id for m in parts.values()} == {f"{whole}/{part}" for part in ("unet", "vae", "text_encoder")}
    assert {m.status for m in parts.values()} == {Status.SKETCHED}
    assert models["acme/pipe"].status is Status.UNREADABLE and "unet" in (models["acme/pipe"].reason or "")
    assert parts["acme/pipe/unet"].weights_digest == models["acme/unet-copy"].weights_digest
    assert len({m.signature for m in parts.values()}) == 3
    crawler.run()
    assert crawler.requests() == {"list": 1}


def test_a_changed_component_is_read_alone(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/pipe", PIPELINE)
    before = crawler.models()
    fake.commit("acme/pipe", {"vae/diffusion_pytorch_model.safetensors": model_file(7, tensors=3)})
    after = crawler.models()
    assert after["acme/pipe/unet"].weights_digest == before["acme/pipe/unet"].weights_digest
    assert after["acme/pipe/vae"].weights_digest != before["acme/pipe/vae"].weights_digest
    assert crawler.requests() == {"list": 1, "resolve": 3, "cdn": crawler.requests()["cdn"]}


def test_components_follow_a_rename_and_go_with_the_whole(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/pipe", PIPELINE)
    fake.add_repo("acme/other", {"README.md": b""})
    crawler.run()
    fake.rename("acme/pipe", "acme/new")
    assert {name for name in crawler.models() if "/" in name.removeprefix("acme/")} == {
        f"acme/new/{part}" for part in ("unet", "vae", "text_encoder")
    }
    fake.delete("acme/new")
    found: dict[str, Model] = {}
    for _ in range(3):
        found |= crawler.models()
        crawler.now += timedelta(days=1)
    assert {name for name, model in found.items() if model.status is Status.GONE} == {
        "acme/new",
        *(f"acme/new/{part}" for part in ("unet", "vae", "text_encoder")),
    }


def test_a_component_that_fails_is_tried_again_with_the_whole(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/pipe", PIPELINE)
    with fake.faults.status(500, kind="resolve", match="/vae/"):
        assert crawler.models()["acme/pipe/vae"].status is Status.UNREADABLE
    models = crawler.models()
    assert models["acme/pipe/vae"].status is Status.SKETCHED


def test_a_gated_pipeline_is_opened_by_a_token(fake: FakeHub, crawler: Crawl) -> None:
    fake.add_repo("acme/pipe", PIPELINE, gated="auto")
    assert crawler.models()["acme/pipe"].status is Status.GATED
    crawler.hub = hub_at(fake, fake.add_token("hf_good", may_read=["*"]))
    assert crawler.models()["acme/pipe/unet"].status is Status.SKETCHED


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        (["a.safetensors", "b.safetensors"], {"a", "b"}),
        (["model.safetensors", "a.safetensors"], set()),
        (["model.safetensors", "model.fp16.safetensors"], set()),
        (["x/model.safetensors", "y/model.safetensors"], {"x", "y"}),
        ([f"checkpoint-{i}/model.safetensors" for i in range(40)], set()),
        (["unet/diffusion_pytorch_model.safetensors", "model_index.json"], set()),
        (["a.bin", "b.bin"], set()),
        (["adapter_config.json", "adapter_model.safetensors"], set()),
    ],
)
def test_parts_are_told_from_copies_and_checkpoints(files: list[str], parts: set[str]) -> None:
    assert set(parts_of(files)) == parts


def test_an_adapter_under_the_name_of_a_model_is_an_adapter(fake: FakeHub, crawler: Crawl) -> None:
    halves = {f"unet.{i}.lora_{way}.weight": np.ones((8, 8), np.float32) for i in range(4) for way in ("up", "down")}
    fake.add_repo("acme/style", {"style.safetensors": save({**halves, "alpha": np.ones(1, np.float32)})})
    assert crawler.models()["acme/style"].status is Status.ADAPTER
    assert crawler.models()["acme/style"].status is Status.ADAPTER and crawler.requests() == {"list": 1}


def test_renamed_prefixes_tied_heads_and_grown_vocabularies_meet(fake: FakeHub, crawler: Crawl) -> None:
    dice = np.random.default_rng(1)
    block = {
        "attn.q.weight": (64, 64),
        "attn.o.weight": (64, 64),
        "mlp.up.weight": (128, 64),
        "mlp.down.weight": (64, 128),
    }
    body = {
        f"layers.{i}.{name}": dice.normal(size=shape).astype(np.float32)
        for i in range(4)
        for name, shape in block.items()
    }
    embedding = np.ones((100, 64), np.float32)
    variants = {
        "plain": {"embed_tokens.weight": embedding, **body},
        "prefixed": {f"model.{k}": v for k, v in {"embed_tokens.weight": embedding, **body}.items()},
        "compiled": {f"_orig_mod.model.{k}": v for k, v in {"embed_tokens.weight": embedding, **body}.items()},
        "headed": {"lm_head.weight": embedding, "embed_tokens.weight": embedding, **body},
        "grown": {"embed_tokens.weight": np.ones((164, 64), np.float32), **body},
    }
    for name, tensors in variants.items():
        fake.add_repo(f"acme/{name}", {"model.safetensors": save(tensors)})
    signatures = {model.repo_id: model.signature for model in crawler.models().values()}
    assert len(set(signatures.values())) == 1, signatures


def test_a_component_is_looked_up_by_its_name(fake: FakeHub) -> None:
    whole = fake.add_repo("acme/pipe", PIPELINE)
    hub = Hub(fake.url, False)
    found = open_model("acme/pipe/unet", hub)
    assert (found.model.repo_id, found.model.hub_id) == ("acme/pipe/unet", f"{whole.hub_id}/unet")
    assert {tensor.file for tensor in found.header} == {"unet/diffusion_pytorch_model.safetensors"}
    assert open_model("acme/pipe/vae@main", hub).model.weights_digest != found.model.weights_digest
    with pytest.raises(NoSuchPart, match=r"no part 'brain': its parts are .*unet"):
        open_model("acme/pipe/brain", hub)
    fake.add_repo("acme/one", {"model.safetensors": model_file(1)})
    with pytest.raises(NoSuchPart, match="it is one model"):
        open_model("acme/one/unet", hub)
