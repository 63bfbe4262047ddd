"""The bench that counts bytes and requests: its model is the one it claims to be, and its bound holds."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi

from bench.bytes_per_model import BOUND_BYTES, SHARDS, measure, publish, tensor_shapes, values_of
from tests.fake_hub import FakeHub


def test_shapes_are_those_of_an_8b_llama() -> None:
    shapes = dict(tensor_shapes())
    assert len(shapes) == 291 and sum(map(values_of, shapes.values())) == 8_030_261_248


def test_client_reads_the_sparse_files_as_sharded_and_unsharded_models(tmp_path: Path) -> None:
    with FakeHub() as hub:
        for repo_id, shards in (("a/single", 1), ("a/sharded", SHARDS)):
            publish(hub, tmp_path / str(shards), repo_id, shards)
            found = HfApi(endpoint=hub.url, token=False).get_safetensors_metadata(repo_id)
            assert found.parameter_count == {"BF16": 8_030_261_248} and len(found.files_metadata) == shards


def test_8b_model_costs_no_request_beyond_the_floor_and_less_than_a_mebibyte(tmp_path: Path) -> None:
    with FakeHub() as hub:
        header = publish(hub, tmp_path / "model", "a/single", 1)
        cost = measure(hub, "a/single", header, tmp_path / "work")
    assert cost.weight_requests <= cost.floor_requests == 1 + 1 + cost.slices
    assert cost.floor_bytes <= cost.weight_bytes + cost.other_bytes <= BOUND_BYTES
