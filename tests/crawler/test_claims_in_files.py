"""Claims inside files: adapter configurations and the texts of safetensors headers, honest and hostile."""

from __future__ import annotations

import json

import pytest

from lineage.crawler.claims_in_files import MAX_CLAIMS, base_in_adapter_config, bases_in_metadata
from lineage.crawler.merge_recipe import bases_in_recipe

HASH = "ab" * 32


@pytest.mark.parametrize(
    ("content", "base"),
    [
        ({"base_model_name_or_path": "acme/base"}, "acme/base"),
        ({"base_model_name_or_path": "https://huggingface.co/acme/base/tree/main"}, "acme/base"),
        ({"base_model_name_or_path": "/workspace/models/llama"}, "/workspace/models/llama"),
        ({"base_model_name_or_path": "/home/x/.cache/huggingface/hub/models--acme--base/snapshots/1"}, "acme/base"),
        ({"base_model_name_or_path": None}, None),
        ({"base_model_name_or_path": ["acme/base"]}, None),
        ({"base_model_name_or_path": "x" * 400}, None),
        ({"base_model_name_or_path": "acme\x1b[31m"}, None),
        (["no", "object"], None),
    ],
)
def test_the_base_of_an_adapter_configuration(content: object, base: str | None) -> None:
    assert base_in_adapter_config(json.dumps(content).encode()) == base


def test_the_beginning_of_an_enormous_configuration_is_enough() -> None:
    text = json.dumps(
        {"base_model_name_or_path": "acme/base", "target_modules": ["x" * 100] * 20_000}, indent=2
    ).encode()
    assert len(text) > 2_000_000 and base_in_adapter_config(text[:1_000_000]) == "acme/base"
    assert base_in_adapter_config(b"[" * 1_000_000) is None and base_in_adapter_config(b"") is None
    assert base_in_adapter_config(b'{"base_model_name_or_path": "\\ud800') is None


def test_what_kohya_diffusers_and_mergers_write_into_headers() -> None:
    kohya = {"ss_sd_model_name": "acme/sd", "ss_new_sd_model_hash": HASH, "ss_base_model_version": "sd_v1"}
    assert bases_in_metadata(kohya) == ((f"sha256:{HASH}", "adapter"), ("acme/sd", "adapter"))
    diffusers = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.base_model_name_or_path": "acme/sd"})}
    assert bases_in_metadata(diffusers) == (("acme/sd", "adapter"),)
    merge = {"sd_merge_models": json.dumps({HASH: {"name": "one"}, "cd" * 32: {"name": "two"}, "no hash": {}})}
    assert bases_in_metadata(merge) == ((f"sha256:{HASH}", "merge"), (f"sha256:{'cd' * 32}", "merge"))
    assert bases_in_metadata({"format": "pt"}) == ()


def test_hostile_texts_of_a_header_claim_little() -> None:
    many = {"sd_merge_models": json.dumps({f"{i:064x}": {} for i in range(3_000)})}
    assert len(bases_in_metadata(many)) == MAX_CLAIMS
    deep = {"sd_merge_models": '{"a":' * 50_000, "lora_adapter_metadata": "[" * 10_000, "ss_sd_model_name": "None"}
    assert bases_in_metadata(deep) == ()


SLERP = """
slices:
  - sources:
      - model: acme/one
        layer_range: [0, 32]
      - model: {model: {path: acme/two, revision: main}}
        layer_range: [0, 32]
merge_method: slerp
base_model: acme/one
parameters: {t: [{filter: self_attn, value: [0, 0.5]}, {value: 0.5}]}
"""


def test_a_recipe_of_mergekit_names_its_models() -> None:
    assert bases_in_recipe(SLERP) == ("acme/one", "acme/two")
    ties = "models:\n- model: acme/a+acme/lora\n- model: acme/b@main\n- acme/c\nbase_model: /models/base\nmerge_method: ties\n"
    assert bases_in_recipe(ties) == ("acme/a", "acme/b", "/models/base")


@pytest.mark.slow
def test_hostile_recipes_claim_little() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True))
    assert bases_in_recipe(bomb + "models: *i\n") == ()
    circle = "models: &m\n- model: acme/a\n- *m\n"
    assert bases_in_recipe(circle) == ("acme/a",)
    many = "models:\n" + "".join(f"- model: acme/m{i}\n" for i in range(1_000))
    assert len(bases_in_recipe(many)) <= MAX_CLAIMS
    for text in ("", "[", "models: {", "- a", "models: 3", "models:\n- model: 3\n", "x" * 50_000_000, "[" * 60_000):
        assert bases_in_recipe(text) == ()
