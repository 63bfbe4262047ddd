"""Neural Lineage's detector: its shapes and invariances, its file, training on a zoo of tiny families, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lineage.detect.decision import AnswerKind
from lineage.detect.methods.nl_detector import BadZoo, train
from lineage.detect.methods.nl_network import (
    BadLineageDetector,
    CandidateExample,
    LineageDetector,
    Shape,
    load_detector,
    save_detector,
    train_detector,
    weight_picture,
)
from lineage.detect.methods.registry import BadSetting, MethodInputs, NeedsMore, decide_with
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from tests.builders import sketch_of
from tests.cli.command import command_at
from tests.detect.methods import networks

CPU = torch.device("cpu")


def example(candidates: int = 4, target: int = 1, seed: int = 0) -> CandidateExample:
    """A child whose parent's pictures are nearly its own."""
    dice = torch.Generator().manual_seed(seed)
    parents = torch.randn(candidates, 16, 16, generator=dice)
    features = torch.randn(candidates, 20, 6, generator=dice)
    child, seen = parents[target % candidates], features[target % candidates]
    pairs = torch.stack([parents, (child + 0.05).expand_as(parents)], 1)
    return CandidateExample(pairs, torch.stack([features, (seen + 0.05).expand_as(features)], 1), target)


def test_probabilities_sum_to_one_and_end_with_no_parent() -> None:
    found = LineageDetector(Shape()).probabilities(example())
    assert found.shape == (5,) and float(found.sum()) == pytest.approx(1)
    assert LineageDetector(Shape(none=False)).probabilities(example()).shape == (4,)


def test_the_order_of_the_candidates_does_not_matter() -> None:
    network, shown, order = LineageDetector(Shape()), example(), [2, 0, 3, 1]
    straight = network.probabilities(shown)
    turned = network.probabilities(shown.only(order, 3))
    torch.testing.assert_close(turned, straight[[*order, 4]])


def test_a_weight_picture_is_the_first_rows_and_columns_padded_with_zeros() -> None:
    tensor = torch.arange(24.0).reshape(4, 2, 3)
    picture = weight_picture(tensor, 5)
    assert picture.shape == (5, 5)
    for row in range(5):
        for column in range(5):
            expected = float(tensor.reshape(4, 6)[row, column]) if row < 4 and column < 6 else 0.0
            assert float(picture[row, column]) == expected


@pytest.mark.slow
def test_training_is_the_same_again_with_the_same_seed() -> None:
    examples = [example(target=i % 4, seed=i) for i in range(8)]
    one, other = (train_detector(examples, Shape(), epochs=1, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def zoo(folder: Path, families: int) -> None:
    for family in range(families):
        place = folder / f"family-{family}"
        place.mkdir(parents=True)
        pairs = []
        for root in range(3):
            parent = networks.start(100 * family + root)
            save_file(parent, place / f"r{root}.safetensors")
            for child in range(2):
                moved = networks.moved(parent, 1000 * family + 10 * root + child, 0.02)
                save_file(moved, place / f"c{root}{child}.safetensors")
                pairs.append({"child": f"c{root}{child}", "parent": f"r{root}"})
        truth = {"pairs": pairs, "roots": [f"r{root}" for root in range(3)]}
        (place / "truth.json").write_text(json.dumps(truth))


def given_at(folder: Path) -> MethodInputs:
    from safetensors.torch import load_file

    batch = {"x": networks.inputs(64)}
    return MethodInputs(networks.layers, batch, lambda name: load_file(folder / f"{name}.safetensors"))


def subjects_of(folder: Path) -> list[Subject]:
    from safetensors.torch import load_file

    paths = sorted(folder.glob("*.safetensors"))
    return [Subject(p.stem, sketch_of({k: v.numpy() for k, v in load_file(p).items()}, p.stem)) for p in paths]


@pytest.mark.slow
@pytest.mark.parametrize(("features", "families", "epochs"), [(False, 8, 16), (True, 6, 8)])
def test_trained_on_a_zoo_it_names_parents_in_a_family_it_never_saw(
    tmp_path: Path, features: bool, families: int, epochs: int
) -> None:
    zoo(tmp_path / "zoo", families)
    zoo(tmp_path / "other", 1)
    out = tmp_path / "detector.safetensors"
    told = train(tmp_path / "zoo", out, given_at if features else None, epochs=epochs)
    assert told["families"] == families and told["children"] == families * 9 and told["features"] is features
    family = tmp_path / "other" / "family-0"
    options = Options(method="nl-detector", settings={"file": str(out), "parents": "r*"})
    decisions = decide_with("nl-detector", subjects_of(family), options, CPU, given_at(family) if features else None)
    right = sum(d.parent == f"r{d.model[1]}" for d in decisions if d.model.startswith("c"))
    assert right >= 4
    assert all(d.answer is AnswerKind.ROOT for d in decisions if d.model.startswith("r"))
    if features:
        with pytest.raises(NeedsMore, match="trained on features"):
            decide_with("nl-detector", subjects_of(family), options, CPU)


def test_bad_input_is_said_in_one_line(tmp_path: Path) -> None:
    zoo(tmp_path, 1)
    subjects = subjects_of(tmp_path / "family-0")

    def run(**settings: str) -> None:
        decide_with("nl-detector", subjects, Options(method="nl-detector", settings=settings), CPU)

    with pytest.raises(BadSetting, match="needs a trained network"):
        run()
    with pytest.raises(BadLineageDetector, match="cannot read"):
        run(file=str(tmp_path / "nowhere.safetensors"))
    with pytest.raises(BadLineageDetector, match="is no trained lineage detector"):
        run(file=str(tmp_path / "family-0" / "r0.safetensors"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadZoo, match="holds no family"):
        train(tmp_path / "empty", tmp_path / "out.safetensors")


def test_a_saved_detector_answers_as_before(tmp_path: Path) -> None:
    network = LineageDetector(Shape(none=False, embedding=8))
    save_detector(network, tmp_path / "d.safetensors", {"tensor": "layers.1.weight"})
    loaded, about = load_detector(tmp_path / "d.safetensors")
    assert about["tensor"] == "layers.1.weight" and loaded.shape == network.shape
    torch.testing.assert_close(loaded.probabilities(example()), network.probabilities(example()))


@pytest.mark.slow
def test_the_commands_train_on_features_and_scan_with_what_was_trained(tmp_path: Path) -> None:
    zoo(tmp_path / "zoo", 2)
    save_file({"x": networks.inputs(64)}, tmp_path / "inputs.safetensors")
    lineage, out = command_at(tmp_path), tmp_path / "nl.safetensors"
    with_features = ["--forward", f"{networks.__name__}:layers", "--batch", tmp_path / "inputs.safetensors"]
    trained = lineage("train", "nl-detector", tmp_path / "zoo", "--out", out, "--epochs", 1, *with_features, "--json")
    assert trained.code == 0, trained.stderr
    assert trained.json["families"] == 2 and trained.json["features"] is True
    family = tmp_path / "zoo" / "family-0"
    chosen = ["--method", "nl-detector", "--method-option", f"file={out}", "--method-option", "parents=r*"]
    scanned = lineage("scan", family, *chosen, *with_features, "--json")
    assert scanned.code == 0, scanned.stderr
    assert all(edge["parent"].startswith("r") and edge["child"].startswith("c") for edge in scanned.json["edges"])
    told = lineage("scan", family, *chosen)
    assert told.code == 2 and len([line for line in told.told if line.startswith("lineage:")]) == 1
    assert lineage("train", "nl-detector", tmp_path / "zoo", "--out", out, "--forward", "mine:layers").code == 2
