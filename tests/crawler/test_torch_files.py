"""Files that PyTorch saved, read by ranges and never unpickled."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from enum import Enum
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lineage.crawler.folder import local_models, one_local_model
from lineage.crawler.formats.interface import Opening
from lineage.crawler.formats.registry import choose_model
from lineage.crawler.formats.torch_pickle import BadPickle, tensors_in
from lineage.crawler.formats.torch_zip import BadArchive, TorchZip, read_torch_header
from lineage.crawler.headers import TensorHeader
from lineage.crawler.open_model import locate_local
from lineage.crawler.packing.affine import affine_key, find
from lineage.crawler.packing.interface import FileContext, TensorRange
from lineage.crawler.weights import LocalFile
from lineage.graphdb.schema import Failure

ROUNDS = int(os.environ.get("LINEAGE_FUZZ_ROUNDS", "1500"))


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7), torch.nn.Linear(7, 3))


def saved(what: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(what, buffer)
    return buffer.getvalue()


def header_of(content: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    found = read_torch_header(lambda start, stop: content[start:stop], "m.bin", len(content))
    return {t.name: (t.dtype, t.shape, content[t.start : t.stop]) for t in found}


def values(found: tuple[str, tuple[int, ...], bytes]) -> np.ndarray:
    return np.frombuffer(found[2], "<f4").reshape(found[1])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: m.state_dict(),
        lambda m: {"state_dict": m.state_dict(), "epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda m: {"model": m},
        lambda m: m,
    ],
    ids=["state_dict", "checkpoint", "module in a checkpoint", "module"],
)
def test_every_usual_kind_of_file_gives_the_tensors_of_the_model(wrap: object) -> None:
    model = network()
    found = header_of(saved(wrap(model)))  # type: ignore[operator]
    expected = model.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name][1] == tuple(tensor.shape)
        if tensor.dtype == torch.float32:
            assert np.array_equal(values(found[name]), tensor.numpy())
    assert found["1.num_batches_tracked"][0] == "I64"


def test_a_dictionary_of_networks_gives_the_tensors_of_the_network_or_of_each_under_its_key() -> None:
    state = network().state_dict()
    optimizer = {"state": {0: {"exp_avg": torch.ones(9, 9)}}, "exp_avg": torch.ones(999)}
    alone = header_of(saved({"generator": state, "optim_g": optimizer, "steps": 4}))
    assert alone.keys() == header_of(saved(state)).keys()
    both = header_of(saved({"generator": state, "discriminator": {"0.weight": torch.ones(2, 3)}, "optim_g": optimizer}))
    assert set(both) == {*(f"generator.{name}" for name in state), "discriminator.0.weight"}
    deep = {"checkpoint_version": 3.0, "module": {"language_model": {"encoder": state}}, "args": {"x": torch.ones(2)}}
    assert set(header_of(saved(deep))) == set(state)
    training = {"epochs": 3, "optim": {"state": {0: {"exp_avg": torch.ones(9, 9)}}}}
    assert header_of(saved({**training, "state": state})).keys() == state.keys(), "the only one, whatever it is called"
    shared: object = state
    for _ in range(3):
        shared = {f"k{i}": shared for i in range(60)}
    with pytest.raises(BadArchive, match="no tensors"):
        header_of(saved(shared))


@pytest.mark.parametrize(
    "beside",
    [
        {"rng_state": torch.get_rng_state(), "optimizer": {}},
        {"mask": torch.zeros(5000, dtype=torch.uint8), "alpha": torch.ones(1), "step": torch.tensor(7)},
    ],
    ids=["random numbers", "mask and numbers"],
)
@pytest.mark.parametrize("key", ["model", "policy"])
def test_tensors_beside_the_network_of_a_checkpoint_are_no_network(beside: dict[str, object], key: str) -> None:
    state = network().state_dict()
    assert header_of(saved({**beside, key: state})).keys() == state.keys()
    assert header_of(saved({**beside, "checkpoint": {key: state}})).keys() == state.keys()
    module = {**state, "extra": {"scale": torch.ones(2)}}
    assert header_of(saved(module)).keys() == state.keys()


def test_half_precision_views_and_tied_tensors() -> None:
    table = torch.arange(24, dtype=torch.float32).reshape(6, 4)
    content = saved(
        {
            "all": table,
            "tied": table,
            "row": table[2],
            "spread": table[2].expand(9, 4),
            "half": table.to(torch.bfloat16),
        }
    )
    found = header_of(content)
    assert "tied" not in found and np.array_equal(values(found["row"]), table[2].numpy())
    assert found["spread"][0] == "STRIDED" and found["half"][0] == "BF16"


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/lineage-was-here",)


def test_a_file_that_would_call_something_is_refused_by_the_name_of_it() -> None:
    content = saved({"weight": torch.ones(2, 2), "extra": Evil()})
    with pytest.raises(BadArchive, match=r"it would call (posix|nt)\.system, and nothing is called"):
        header_of(content)
    assert not Path("/tmp/lineage-was-here").exists()


class Kind(Enum):
    ONE = "one"


class Settings(SimpleNamespace):
    """Settings as their publisher's own class holds them."""


SETTINGS = {
    "enum": Kind.ONE,
    "namespace": Settings(lr=0.1, kind=Kind.ONE, weight=torch.ones(99, 99)),
    "partial": partial(print, {"weight": torch.ones(99, 99)}),
    "method": Settings(lr=0.1).__getattribute__,
    "method of a dictionary": {"a": 1}.get,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_other_classes_hold_nothing_and_the_network_beside_them_is_read(name: str) -> None:
    state, model = network().state_dict(), network()
    model.args = SETTINGS[name]
    assert header_of(saved({"model": model})).keys() == state.keys()
    for what in ({"model_args": SETTINGS[name], "state_dict": state}, {**state, "args": SETTINGS[name]}):
        assert header_of(saved(what)).keys() == header_of(saved_old(what)).keys() == state.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_file_of_nothing_but_such_settings_is_refused_by_the_name_of_what_it_would_call(name: str) -> None:
    weights = {"norm.weight": torch.ones(9), "weight": SETTINGS[name]}
    for what in (SETTINGS[name], {"model": SETTINGS[name]}, {"state_dict": [SETTINGS[name]]}, {"model": weights}):
        with pytest.raises(BadArchive, match=r"it would call \S+, and nothing is called"):
            header_of(saved(what))


@pytest.mark.parametrize(
    "call", [b"cbuiltins\neval\n", b"csubprocess\nPopen\n", b"cos.path\njoin\n", b"c__builtin__\n__import__\n"]
)
def test_what_would_run_a_program_is_refused_whatever_lies_beside_it(call: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(saved(network().state_dict()))) as archive:
        description = archive.read("archive/data.pkl")
    assert tensors_in(description)
    with pytest.raises(BadPickle, match="it would call"):
        tensors_in(description[:2] + call + b"X\x01\x00\x00\x00b\x85R0" + description[2:])


def test_of_a_network_and_the_mean_over_its_training_the_network_is_read() -> None:
    state, mean = network().state_dict(), {n: t.half() for n, t in network().state_dict().items()}
    both = header_of(saved({"ema": mean, "model": state}))
    assert both == header_of(saved(state)) != header_of(saved(mean))
    assert header_of(saved({"model": None, "ema": mean})) == header_of(saved(mean))


@pytest.mark.parametrize(
    "what, why",
    [
        (pickle.dumps({"a": list(range(99))}), "neither a zip archive nor"),
        (b"", "too few"),
        (b"PK" + b"\0" * 100, "neither a zip archive nor"),
    ],
)
def test_other_files_are_refused(what: bytes, why: str) -> None:
    with pytest.raises(BadArchive, match=why):
        header_of(what)


@pytest.mark.parametrize("old", [False, True])
def test_a_name_of_numbers_without_end_is_refused(old: bool) -> None:
    saved_so = saved_old if old else saved
    with pytest.raises(BadArchive, match="has a name of 16006 bytes"):
        header_of(saved_so({"1." * 8_000 + "weight": torch.zeros(2, 2)}))


def saved_old(what: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(what, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: m.state_dict(),
        lambda m: {"optimizer": {"state": {0: torch.ones(9)}}, "state_dict": m.state_dict()},
        lambda m: {"net": {n: t.half() for n, t in m.state_dict().items()}},
    ],
    ids=["state_dict", "checkpoint", "halves"],
)
def test_files_of_before_version_1_6_give_the_same_tensors(wrap: object) -> None:
    what = wrap(network())  # type: ignore[operator]
    assert header_of(saved_old(what)) == header_of(saved(what))


def test_old_files_that_call_something_or_end_too_early_are_refused() -> None:
    with pytest.raises(BadArchive, match=r"it would call (posix|nt)\.system, and nothing is called"):
        header_of(saved_old({"weight": torch.ones(2, 2), "extra": Evil()}))
    content = saved_old(network().state_dict())
    for length in range(0, len(content), 7):
        with pytest.raises(BadArchive):
            header_of(content[:length])


def test_damaged_old_files_give_a_header_within_the_file_or_are_refused_by_name() -> None:
    rng = np.random.default_rng(3)
    content = saved_old(network().state_dict())
    for _ in range(ROUNDS):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            damaged[at] = rng.integers(0, 256)
        mine = bytes(damaged)
        try:
            found = read_torch_header(lambda start, stop, mine=mine: mine[start:stop], "m.bin", len(mine))
        except BadArchive:
            continue
        assert all(0 <= t.start <= t.stop <= len(mine) for t in found)


def test_a_compressed_archive_is_refused() -> None:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(network().state_dict()))) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(BadArchive, match="compressed"):
        header_of(packed.getvalue())


def test_members_that_do_not_lie_at_multiples_of_64_are_found_by_their_own_headers() -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(network().state_dict()))) as old, zipfile.ZipFile(stored, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    found = header_of(stored.getvalue())
    assert np.array_equal(values(found["0.weight"]), network().state_dict()["0.weight"].numpy())


@pytest.mark.slow
def test_the_pickle_of_a_bomb_is_refused_in_bounded_memory() -> None:
    with pytest.raises(BadPickle):
        tensors_in(b"\x80\x02" + b"(" * 3_000_000 + b".")
    with pytest.raises(BadPickle):
        tensors_in(pickle.dumps([[1]] * 100_000, protocol=2))
    with pytest.raises(BadPickle):
        tensors_in(pickle.dumps(OrderedDict([("a", 1)]), protocol=4))


def test_damaged_files_never_do_anything_but_fail_in_one_line() -> None:
    original = saved({"state_dict": network().state_dict(), "step": 5})
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(ROUNDS):
        content = bytearray(original)
        for at in rng.integers(0, len(content), rng.integers(1, 8)):
            content[at] = rng.integers(0, 256)
        if rng.random() < 0.2:
            del content[rng.integers(0, len(content)) :]
        try:
            for tensor in read_torch_header(lambda a, b, c=content: bytes(c[a:b]), "m.bin", len(content)):
                assert 0 <= tensor.start <= tensor.stop <= len(content)
        except Failure as error:
            refused += 1
            assert "\n" not in error.message
    assert refused > ROUNDS // 4


@pytest.mark.slow
def test_damaged_pickles_never_do_anything_but_fail() -> None:
    with zipfile.ZipFile(io.BytesIO(saved({"model": network(), "state_dict": network().state_dict()}))) as archive:
        original = archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
    rng = np.random.default_rng(2)
    for _ in range(ROUNDS):
        content = bytearray(original)
        for at in rng.integers(0, len(content), rng.integers(1, 6)):
            content[at] = rng.integers(0, 256)
        try:
            tensors_in(bytes(content))
        except BadPickle:
            continue


def test_a_folder_with_a_pytorch_model_is_a_model_single_or_in_shards(tmp_path: Path) -> None:
    state = network().state_dict()
    single, sharded = tmp_path / "single", tmp_path / "sharded"
    for folder in (single, sharded):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "training_args.bin").write_bytes(saved({"lr": 1}))
        (folder / "optimizer.pt").write_bytes(saved({"state": {"a": torch.ones(3, 3)}}))
    (single / "pytorch_model.bin").write_bytes(saved(state))
    halves = [{n: t for i, (n, t) in enumerate(state.items()) if i % 2 == half} for half in (0, 1)]
    for number, half in enumerate(halves, 1):
        (sharded / f"pytorch_model-0000{number}-of-00002.bin").write_bytes(saved(half))
    index = {"weight_map": {n: f"pytorch_model-0000{i}-of-00002.bin" for i, h in enumerate(halves, 1) for n in h}}
    (sharded / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    headers = [{t.name: t.shape for t in locate_local(one_local_model(f)).header} for f in (single, sharded)]
    assert headers[0] == headers[1] == {name: tuple(tensor.shape) for name, tensor in state.items()}
    (sharded / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(Failure, match="1 of its 2"):
        one_local_model(sharded)


def test_every_pt_file_of_a_folder_is_a_model_under_its_own_name(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pth"):
        (tmp_path / name).write_bytes(saved(network().state_dict()))
    assert [model.id for model in local_models(tmp_path)] == ["a.pt", "b.pth"]
    assert LocalFile(tmp_path / "a.pt").size_bytes > 0


def test_a_checkpoint_of_a_trainer_is_the_model_where_there_is_nothing_else(tmp_path: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in network().state_dict().items()}
    file = tmp_path / "epoch=3-step=90.ckpt"
    file.write_bytes(saved({"state_dict": state, "epoch": 3}))
    model = one_local_model(tmp_path)
    assert [path.name for path in model.files] == [file.name]
    assert {t.name for t in locate_local(model).header} == set(state)
    chosen = choose_model(["README.md", "model.pt", "last.ckpt"])[1].weights
    assert chosen is not None and chosen.files == ("model.pt",)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_a_program_of_torchscript_has_the_tensors_of_its_module() -> None:
    model = network()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(model), buffer)
    assert header_of(buffer.getvalue()) == header_of(saved(model))


def test_files_are_weights_by_their_ending_and_not_by_a_word_in_their_name(tmp_path: Path) -> None:
    for name in ("embedding_model.pt", "net.jit", "net.torchscript", "embeddings.pt", "optimizer.pt"):
        (tmp_path / name).write_bytes(saved(network().state_dict()))
    assert {model.id for model in local_models(tmp_path)} == {"embedding_model.pt", "net.jit", "net.torchscript"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_weights_of_dynamically_quantized_layers_are_read_under_their_own_names(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(40, 32), torch.nn.Linear(32, 48), torch.nn.LayerNorm(48))
    packed = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    torch.save(packed.state_dict(), tmp_path / "pytorch_model.bin")
    weights = TorchZip().open([LocalFile(tmp_path / "pytorch_model.bin")], Opening())
    tensors = {tensor.name: tensor for tensor in weights.header}
    assert (tensors["1.weight"].dtype, tensors["1.weight"].shape) == ("F32", (48, 32))
    assert tensors["1.bias"].shape == (48,) and weights.quantization == "int8"
    (found,) = weights.read([TensorRange("1.weight", 32, 320)])
    values = np.frombuffer(found[1], "<f4")
    assert np.allclose(values, packed[1].weight().dequantize().flatten()[32:320].numpy(), rtol=1e-6)
    assert np.abs(values - model[1].weight.detach().flatten()[32:320].numpy()).max() < 0.01


@pytest.mark.parametrize("text", ["", "1.0", "nan 0", "-1.0 0", "inf 3", "1.0 two", "1 2 3"])
def test_a_scale_that_is_none_unpacks_nothing(text: str) -> None:
    tensor = TensorHeader("a.weight", "I8", (4, 8), "m.bin", 0, 32)
    context = FileContext(lambda _: b"", {affine_key("a.weight"): text})
    assert list(find({"a.weight": tensor}, context)) == []
