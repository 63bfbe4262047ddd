"""Which files of a repository are the model."""

from __future__ import annotations

import itertools

import pytest

from lineage.crawler.selection import Layout, choose, weight_sets, weights_digest

SHARDS = tuple(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3))
# files -> the weight files that are the model
MODELS = {
    ("model.safetensors",): ("model.safetensors",),
    ("model.safetensors", "pytorch_model.bin", "model.fp16.safetensors", "optimizer.safetensors"): (
        "model.safetensors",
    ),
    (*SHARDS, "model.safetensors.index.json", "config.json"): SHARDS,
    (*SHARDS, "consolidated.safetensors"): SHARDS,
    ("consolidated.safetensors", "params.json"): ("consolidated.safetensors",),
    ("weights.safetensors",): ("weights.safetensors",),
    ("my-model.safetensors", "my-model-fp16.safetensors"): ("my-model.safetensors",),
    ("checkpoint-500/model.safetensors", "checkpoint-500/optimizer.pt"): ("checkpoint-500/model.safetensors",),
    ("model.safetensors", "adapter_config.json"): ("model.safetensors",),
    ("model.safetensors", "unet/model.safetensors"): ("model.safetensors",),
    ("diffusion_pytorch_model.safetensors", "config.json"): ("diffusion_pytorch_model.safetensors",),
}
REASONS = {
    ("pytorch_model.bin", "training_args.bin"): "only pickle weights (pytorch_model.bin), which are never opened",
    ("model.Q4_K_M.gguf",): "formats that are not read",
    ("tf_model.h5",): "formats that are not read",
    ("README.md", "training_args.bin", "optimizer.pt"): "no weight files",
    (): "no weight files",
    ("a.safetensors", "b.safetensors"): "several weight files, none of which is named as the model: a, b",
    ("unet/x.safetensors", "vae/y.safetensors"): "several sets of weights in subfolders",
}


@pytest.mark.parametrize("files", MODELS)
def test_the_model_is_found_among_other_files(files: tuple[str, ...]) -> None:
    for order in itertools.islice(itertools.permutations(files), 24):
        choice = choose(order)
        assert choice.weights is not None and not choice.adapter
        assert choice.weights.files == MODELS[files]


@pytest.mark.parametrize("files", REASONS)
def test_where_there_is_no_model_the_reason_is_said(files: tuple[str, ...]) -> None:
    choice = choose(files)
    assert choice.weights is None and REASONS[files] in (choice.reason or "")


@pytest.mark.parametrize(
    "files",
    [
        ("adapter_config.json", "adapter_model.safetensors"),
        ("adapter_config.json", "adapter_model.bin"),
        ("adapter_model.safetensors",),
        ("pytorch_lora_weights.safetensors",),
        ("lora/adapter_config.json", "lora/adapter_model.safetensors"),
    ],
)
def test_adapters_are_recognised(files: tuple[str, ...]) -> None:
    choice = choose(files)
    assert choice.adapter and "adapter" in (choice.reason or "")


def test_missing_shards_are_counted() -> None:
    choice = choose([SHARDS[0], SHARDS[2]])
    assert choice.weights is not None and choice.weights.missing == 1


def test_an_index_over_files_with_other_names_has_to_be_read() -> None:
    choice = choose(["model.safetensors.index.json", "part-a.safetensors", "part-b.safetensors"])
    assert choice.weights is not None
    assert (choice.weights.layout, choice.weights.index) == (Layout.INDEXED, "model.safetensors.index.json")


def test_an_absurd_number_of_shards_is_no_set() -> None:
    choice = choose(["model-00001-of-99999.safetensors"])
    assert choice.weights is None or choice.weights.layout is Layout.SINGLE


def test_a_pipeline_shows_its_parts() -> None:
    parts = [
        f"{part}/{name}.safetensors" for part, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model"))
    ]
    assert {s.folder for s in weight_sets([*parts, "model_index.json"])} == {"unet", "text_encoder"}


def test_the_digest_depends_on_the_files_and_not_on_their_order() -> None:
    assert weights_digest(["a", "b"]) == weights_digest(["b", "a"]) != weights_digest(["a"])
    assert len(weights_digest(["a"])) == 64
