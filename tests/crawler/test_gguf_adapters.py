"""Adapters in GGUF files, as llama.cpp's convert_lora_to_gguf.py writes them, are adapters of the models that they name."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

import lineage
from tests.crawler.ggufs import LAYERS, WIDE, llama

RANK = 4


def write_adapter(path: Path, base: str | None, wide: int = WIDE) -> None:
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    if base is not None:
        writer.add_base_model_count(1)
        writer.add_base_model_repo_url(0, f"https://huggingface.co/{base}")
    for layer in range(LAYERS):
        for part in ("attn_q", "attn_output"):
            name = f"blk.{layer}.{part}.weight"
            writer.add_tensor(f"{name}.lora_a", random.standard_normal((RANK, wide)).astype(np.float32))
            writer.add_tensor(f"{name}.lora_b", random.standard_normal((wide, RANK)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", ["lora-f16.gguf", "style.gguf"])
def test_an_adapter_in_a_gguf_file_belongs_to_the_base_that_it_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    save_file(llama(), tmp_path / "acme" / "base.safetensors")
    (tmp_path / "mine").mkdir()
    write_adapter(tmp_path / "mine" / name, "acme/base")
    (answer,) = [a for n, a in lineage.scan(tmp_path).items() if "mine" in n]
    assert (answer.parent, answer.relation) == ("acme/base", "ADAPTER_OF")


def test_a_base_of_other_sizes_is_contradicted_and_without_a_claim_what_fits_is_possible(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    save_file(llama(), tmp_path / "acme" / "base.safetensors")
    for name, base, wide in (("other", "acme/base", 2 * WIDE), ("silent", None, WIDE)):
        (tmp_path / name).mkdir()
        write_adapter(tmp_path / name / "lora.gguf", base, wide)
    found = {n.partition("/")[0]: a for n, a in lineage.scan(tmp_path).items()}
    assert found["other"].parent is None and "cannot be its base" in str(found["other"].reason)
    assert [one.repo_id for one in found["silent"].runners_up] == ["acme/base"]
