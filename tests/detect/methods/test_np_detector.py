"""Neural Phylogeny's detector: the network written out, what it learns, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lineage.detect.methods.np_detector import (
    BadPhylogenyDetector,
    FamilyCrops,
    PhylogenyDetector,
    PhylogenyPlan,
    crops,
    load,
    save,
    train,
)
from lineage.detect.methods.registry import BadSetting
from lineage.detect.methods.to_decisions import CannotTake
from lineage.detect.model_input import Subject
from tests.builders import sketch_of, start, tune
from tests.detect.methods.models import CPU, SMALL, asked, parents, subjects_of, two_families


def family(seed: int, children: int = 3) -> FamilyCrops:
    root = start(seed, SMALL)
    models = [root, *(tune(root, 100 * seed + k, 0.5, decay=0.0) for k in range(children))]
    subjects = tuple(Subject(f"{seed}-{k}", sketch_of(m, f"{seed}-{k}")) for k, m in enumerate(models))
    return FamilyCrops(subjects, (0,) * (children + 1))


@pytest.mark.parametrize("transformers", [0, 1])
def test_every_pair_is_a_picture_of_two_channels(transformers: int) -> None:
    torch.manual_seed(0)
    network = PhylogenyDetector(8, transformers).eval()
    pictures = torch.randn(4, 32, 32)
    found = network(pictures)
    edges = torch.stack(
        [
            F.relu(network.norm(network.encode(torch.stack([pictures[j], pictures[i]])[None]))).mean((2, 3))[0]
            for i in range(4)
            for j in range(4)
        ]
    )
    for layer in network.attend:
        edges = layer(edges[None])[0]
    torch.testing.assert_close(found, network.score(edges).reshape(4, 4))


def test_crops_are_the_first_values_and_zeros_beyond() -> None:
    models, _ = two_families(1)
    found = crops(subjects_of(models), "layers.0.weight", CPU)
    assert found.shape == (4, 32, 32)
    assert torch.equal(found[0, :24, :16], torch.from_numpy(models["a"]["layers.0.weight"]))
    assert not found[:, 24:].any() and not found[:, :, 16:].any()


@pytest.mark.slow
def test_it_learns_who_is_the_parent_of_models_it_never_saw(tmp_path: Path) -> None:
    plan = PhylogenyPlan(epochs=6, samples_an_epoch=30)
    network = train([family(seed) for seed in range(1, 21)], plan, CPU)
    path = tmp_path / "detector.safetensors"
    save(network, plan, path)
    new = [family(seed) for seed in range(50, 53)]
    found = parents(asked("np-detector", [s for f in new for s in f.subjects], file=str(path)))
    truth = {s.id: None if k == 0 else f.subjects[0].id for f in new for k, s in enumerate(f.subjects)}
    assert sum(found[name] == parent for name, parent in truth.items()) >= 9  # chance names one of 12


def test_what_is_saved_is_what_is_loaded_and_probabilities_sum_to_one(tmp_path: Path) -> None:
    plan = PhylogenyPlan(width=4, transformers=1, epochs=1, samples_an_epoch=2, softmax_twice=False)
    path = tmp_path / "detector.safetensors"
    network = train([family(seed) for seed in (1, 2, 3)], plan, CPU)
    save(network, plan, path)
    again, told = load(path, CPU)
    assert told == plan
    pictures = torch.randn(3, 32, 32)
    torch.testing.assert_close(again(pictures), network(pictures))
    for decision in asked("np-detector", list(family(9, 2).subjects), file=str(path)):
        assert 0 < decision.probability <= 1 and len(decision.candidates) <= 4


def test_training_needs_three_parents() -> None:
    with pytest.raises(CannotTake, match="3 parents"):
        train([family(1), family(2)], PhylogenyPlan(), CPU)


def test_without_a_trained_network_it_says_how_to_make_one(tmp_path: Path) -> None:
    subjects = subjects_of(two_families(1)[0])
    with pytest.raises(BadSetting, match="trained network"):
        asked("np-detector", subjects)
    (tmp_path / "none.safetensors").write_bytes(b"not a file of tensors")
    for name in ("none", "absent"):
        with pytest.raises(BadPhylogenyDetector):
            asked("np-detector", subjects, file=str(tmp_path / f"{name}.safetensors"))
