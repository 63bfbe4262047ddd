"""Which files of a repository are the model."""

from __future__ import annotations

import itertools

import pytest

from lineage.crawler.selection import Layout, choose, files_by_index, weight_sets, weights_digest

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
    ("tf_model.h5",): "only weights in formats that are not read (tf_model.h5: HDF5)",
    ("__0_0.distcp", "__1_0.distcp", ".metadata"): "(__0_0.distcp, __1_0.distcp: PyTorch's distributed checkpoint)",
    ("openvino_model.bin", "openvino_model.xml"): "(openvino_model.bin, openvino_model.xml: OpenVINO)",
    ("ggml-base.bin",): "(ggml-base.bin: GGML)",
    ("consolidated.00.pth", "consolidated.01.pth", "params.json"): "each tensor cut in parts, for several devices",
    ("global_step10/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",): "no weight files",
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
        ("config.json", "adapter_config.json", "adapter_model.safetensors"),
        ("lora/adapter_config.json", "lora/adapter_model.safetensors"),
    ],
)
def test_adapters_are_recognised(files: tuple[str, ...]) -> None:
    choice = choose(files)
    assert choice.adapter and (choice.weights is not None or "adapter" in (choice.reason or ""))


@pytest.mark.parametrize(
    "files",
    [
        ("adapter_model.safetensors",),
        ("pytorch_lora_weights.safetensors",),
        ("gpt4-alpaca-lora-13b.safetensors", "config.json"),
        ("adapter_config.json", "merged.safetensors"),
    ],
)
def test_a_name_makes_no_adapter_so_its_tensors_are_read(files: tuple[str, ...]) -> None:
    choice = choose(files)
    assert choice.weights is not None and not choice.adapter


def test_a_file_that_is_named_as_an_adapter_is_not_taken_beside_a_model() -> None:
    choice = choose(["some.safetensors", "some-lora.safetensors"])
    assert choice.weights is not None and choice.weights.files == ("some.safetensors",)


INDEX = "model.safetensors.index.json"
OLD = tuple(f"model-0000{i}-of-00002.safetensors" for i in (1, 2))


def by_index(files: tuple[str, ...], named: tuple[str, ...], folder: str = "") -> tuple[str, ...] | str | None:
    choice = choose([f"{folder}{file}" for file in (*files, INDEX)])
    assert choice.weights is not None and choice.weights.layout is Layout.INDEXED
    found = files_by_index(choice.weights, named)
    return found.weights.files if found.weights else found.reason


@pytest.mark.parametrize("named", [SHARDS, OLD])
def test_an_index_decides_between_sets_of_shards_whatever_their_numbers(named: tuple[str, ...]) -> None:
    assert by_index((*SHARDS, *OLD), named) == named
    assert by_index((*SHARDS, OLD[0]), SHARDS) == SHARDS
    mixed = (OLD[0], "part-a.safetensors")
    assert by_index((*OLD, "part-a.safetensors", "part-b.safetensors"), mixed) == mixed
    assert by_index((*SHARDS, *OLD), named, "sub/") == tuple("sub/" + name for name in named)


def test_an_index_counts_more_than_the_numbers_in_the_names() -> None:
    of_four = ("model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors")
    assert by_index(of_four, of_four) == of_four


def test_a_set_that_the_index_names_and_that_is_not_whole_is_no_other_set() -> None:
    assert "names model-00002-of-00003.safetensors, which is missing" in str(
        by_index((*OLD, SHARDS[0], SHARDS[2]), SHARDS)
    )


def test_an_index_of_other_files_is_not_heard_where_one_model_lies_beside_it() -> None:
    assert by_index(("merged-weights.safetensors",), SHARDS) == ("merged-weights.safetensors",)
    assert by_index(("merged.safetensors", "merged.fp16.safetensors"), SHARDS) == ("merged.safetensors",)
    assert "missing, as are 2 more of its 3" in str(by_index(("a.safetensors", "b.safetensors"), SHARDS))


def test_one_whole_set_with_its_index_needs_no_look_into_the_index() -> None:
    choice = choose([*SHARDS, INDEX, "consolidated.safetensors", "my-lora.safetensors"])
    assert choice.weights is not None
    assert (choice.weights.layout, choice.weights.index, choice.weights.files) == (Layout.SHARDED, INDEX, SHARDS)


def test_without_an_index_a_whole_set_counts_and_two_whole_ones_are_told() -> None:
    choice = choose([*SHARDS, OLD[0]])
    assert choice.weights is not None and choice.weights.files == SHARDS
    assert "several whole sets of shards (model of 2 and of 3), and no index says which counts" in str(
        choose([*SHARDS, *OLD]).reason
    )


def test_endings_count_in_any_case() -> None:
    for name in ("C.SAFETENSORS", "Model.SafeTensors"):
        choice = choose([name])
        assert choice.weights is not None and (choice.weights.files, choice.weights.stem) == ((name,), name[:-12])
    upper = tuple(name.upper() for name in SHARDS)
    choice = choose(upper)
    assert choice.weights is not None and choice.weights.files == upper


def test_a_split_gguf_with_a_part_missing_is_said_to_be_one() -> None:
    assert "1 of its 2 weight files is missing (m-F16-00001-of-00002.gguf is there)" in str(
        choose(["m-F16-00001-of-00002.gguf", "README.md"]).reason
    )


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
