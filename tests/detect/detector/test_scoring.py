"""The shipped detector: reads, answers in probabilities, does not depend on the order of models, and refuses other files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lineage.detect.detector.network import DirectionNetwork
from lineage.detect.detector.scoring import BadDetector, directions, load, save, shipped
from lineage.detect.gram import gram
from lineage.detect.tree import nearest
from tests.detect.detector.families import CPU, layers_of_family


def scores(layers, **more):
    """(m, m) log-odds, [child, parent], that the parent came first."""
    return directions(layers, nearest(gram(layers).distances()), **more)


def test_what_ships_is_small_and_says_what_it_learned_from():
    path = Path(str(files("lineage.detect.detector").joinpath("detector.safetensors")))
    assert path.stat().st_size < 1_000_000
    assert files("lineage.detect").joinpath("detector_card.md").read_text()
    assert shipped().training is False


def test_nothing_ships_that_no_answer_needs():
    path = Path(str(files("lineage.detect.detector").joinpath("detector.safetensors")))
    assert {name.partition(".")[0] for name in load_file(path)} == {"direction"}


def test_direction_is_antisymmetric():
    found = scores(layers_of_family())
    assert torch.equal(found, -found.T) and found.any()


def test_the_order_of_models_does_not_matter():
    layers = layers_of_family()
    order = torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    here, there = scores(layers), scores([layer.of(order) for layer in layers])
    assert torch.allclose(there, here[order][:, order], atol=1e-2)


@pytest.mark.slow
def test_large_families_are_asked_about_the_neighbours_only():
    layers = [layer.of(torch.arange(70) % 8) for layer in layers_of_family()]
    dice = torch.Generator().manual_seed(0)
    for layer in layers:
        layer.values.mul_(1 + 0.2 * torch.randn(layer.values.shape, generator=dice))
    found = scores(layers)
    assert 8 < int((found != 0).sum(1).median()) <= 48 < 70


def test_a_detector_is_kept_and_read_again(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "one.safetensors"
    save(DirectionNetwork().eval(), path, {"seed": "1"})
    one, other = (
        scores(layers_of_family(), detector=load(path, CPU)),
        scores(layers_of_family(), detector=load(path, CPU)),
    )
    assert torch.equal(one, other)


def test_a_file_of_an_earlier_version_that_holds_a_second_network_is_read(tmp_path):
    path = tmp_path / "one.safetensors"
    save(shipped(), path, {})
    save_file({**load_file(path), "candidates.judge.bias": torch.zeros(1)}, path, {"version": "2"})
    assert torch.equal(scores(layers_of_family(), detector=load(path, CPU)), scores(layers_of_family()))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    for content in (b"", b"\x00" * 100):
        path.write_bytes(content)
        with pytest.raises(BadDetector):
            load(path, CPU)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(BadDetector, match="version"):
        load(path, CPU)
    save_file({"a": torch.zeros(2)}, path, {"version": "1"})
    with pytest.raises(BadDetector):
        load(path, CPU)
    with pytest.raises(BadDetector):
        load(tmp_path / "none", CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_and_cpu_say_the_same():
    layers = layers_of_family()
    here = scores(layers)
    there = scores([layer.of(torch.arange(8)) for layer in layers_on("cuda")])
    assert torch.allclose(here, there, atol=1e-2)


def layers_on(device):
    from dataclasses import replace

    return [replace(layer, values=layer.values.to(device)) for layer in layers_of_family()]
