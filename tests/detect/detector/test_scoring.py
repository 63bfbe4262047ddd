"""The shipped detector: reads, answers in probabilities, does not depend on the order of models, and refuses other files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lineage.detect.detector.context import context, merged
from lineage.detect.detector.network import CandidateNetwork, DirectionNetwork
from lineage.detect.detector.scoring import BadDetector, Detector, detector_scores, load, save, shipped
from lineage.detect.gram import gram, squared_lengths
from lineage.detect.signals.relatedness import relatedness
from lineage.detect.tree import nearest
from tests.detect.detector.families import CPU, layers_of_family


def scores(layers, **more):
    products = gram(layers)
    return detector_scores(
        layers, nearest(products.distances()), products, squared_lengths(layers), relatedness(layers), **more
    )


def test_what_ships_is_small_and_says_what_it_learned_from():
    path = Path(str(files("lineage.detect.detector").joinpath("detector.safetensors")))
    assert path.stat().st_size < 5_000_000
    assert files("lineage.detect").joinpath("detector_card.md").read_text()
    assert shipped().direction.training is False


def test_answers_are_probabilities_and_direction_is_antisymmetric():
    found = scores(layers_of_family())
    assert torch.equal(found.came_first, -found.came_first.T)
    assert (found.parent.sum(1) + found.none).tolist() == pytest.approx([1.0] * 8, abs=1e-5)
    assert not found.parent.diagonal().any()


def test_the_order_of_models_does_not_matter():
    layers = layers_of_family()
    order = torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    here, there = scores(layers), scores([layer.of(order) for layer in layers])
    assert torch.allclose(there.came_first, here.came_first[order][:, order], atol=1e-2)
    assert torch.allclose(there.parent, here.parent[order][:, order], atol=1e-2)


def test_counters_change_who_is_the_parent_but_not_what_the_weights_say():
    layers = layers_of_family()
    counted = torch.full((8, 8), 4.0, dtype=torch.float64).triu(1)
    counted = counted - counted.T
    plain, told = scores(layers), scores(layers, counted=counted)
    assert torch.equal(plain.came_first, told.came_first)
    assert not torch.allclose(plain.parent, told.parent)


def test_large_families_are_asked_about_the_neighbours_only():
    layers = [layer.of(torch.arange(70) % 8) for layer in layers_of_family()]
    dice = torch.Generator().manual_seed(0)
    for layer in layers:
        layer.values.mul_(1 + 0.2 * torch.randn(layer.values.shape, generator=dice))
    found = scores(layers)
    assert int((found.parent > 0).sum(1).max()) <= 24


def test_slopes_of_a_chain_are_seen_whatever_the_number_of_groups():
    layers = layers_of_family()
    products = gram(layers)
    candidates = nearest(products.distances())
    odds = torch.zeros(8, 8, dtype=torch.float64)
    seen = context(merged(products), squared_lengths(layers), relatedness(layers), odds, candidates)
    assert torch.isfinite(seen.pair).all() and torch.isfinite(seen.third).all()
    child, parent, root = 7, 4, 1  # baa from ba, from b
    at = candidates[child].tolist().index(parent), seen.thirds[child].tolist().index(root)
    low = seen.third[child, at[0], at[1], 0] + 0.5  # of ba in baa, seen from b
    assert 0.8 < float(low) < 1.1


def test_a_detector_is_kept_and_read_again(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "one.safetensors"
    save(Detector(DirectionNetwork().eval(), CandidateNetwork().eval()), path, {"seed": "1"})
    one, other = (
        scores(layers_of_family(), detector=load(path, CPU)),
        scores(layers_of_family(), detector=load(path, CPU)),
    )
    assert torch.equal(one.parent, other.parent)


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
    assert torch.allclose(here.came_first, there.came_first, atol=1e-2)
    assert torch.allclose(here.parent, there.parent, atol=1e-2)


def layers_on(device):
    from dataclasses import replace

    return [replace(layer, values=layer.values.to(device)) for layer in layers_of_family()]
