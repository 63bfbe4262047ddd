"""Claims inside files: adapter configurations and the texts of safetensors headers, honest and hostile."""

from __future__ import annotations

import json

import pytest

from lineage.crawler.claims_in_files import MAX_CLAIMS, base_in_adapter_config, bases_in_metadata

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
