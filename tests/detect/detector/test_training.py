"""Training: learns, is the same for the same seed, goes on where it was cut off, and its commands tell what they made."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from lineage.commands.train import train as train_command
from lineage.commands.train import zoo as zoo_command
from lineage.detect.detector.scoring import came_first_of, load
from lineage.detect.detector.training import Recipe, TrainingRun, fit_direction, folds, train
from tests.detect.detector.families import CPU, examples, write_zoo

SHORT = Recipe(members=(0, 1), direction_steps=30, batch=32, layers=6, folds=2, checkpoint_every=10)


class CutOff(Exception):
    """Somebody pulled the plug."""


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.slow
def test_architectures_are_dealt_whole():
    found = examples()
    parts = folds(found, 2)
    assert sorted(i for part in parts for i in part) == list(range(len(found)))
    kinds = [{found[i].architecture for i in part} for part in parts]
    assert not kinds[0] & kinds[1]


@pytest.mark.slow
def test_the_direction_of_families_in_training_is_learned():
    found = examples()
    network = fit_direction(found, SHORT, TrainingRun(CPU), "direction")
    for example in found:
        odds = came_first_of(network, example.tokens, example.pairs, len(example.models))
        assert all(float(odds[c, p]) > 0 for c, p in enumerate(example.parent.tolist()) if p >= 0)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_networks_also_after_being_cut_off(tmp_path):
    found = examples(2)
    whole = train(found, SHORT, TrainingRun(CPU))

    def pull(stage, step, steps):
        if (stage, step) == ("direction, member 2", 15):
            raise CutOff

    with pytest.raises(CutOff):
        train(found, SHORT, TrainingRun(CPU, tmp_path, pull))
    again = TrainingRun(CPU, tmp_path)
    resumed = train(found, SHORT, again)
    assert same(whole.direction, resumed.direction)
    assert len(again.losses["direction, member 2"]) == 30
    assert torch.equal(resumed.came_first[0], -resumed.came_first[0].T)


@pytest.mark.slow
def test_the_command_writes_a_detector_and_a_picture(tmp_path):
    write_zoo(tmp_path / "zoo", 2)
    out, picture = tmp_path / "d.safetensors", tmp_path / "losses.png"
    arguments = ["detector", str(tmp_path / "zoo"), "--out", str(out), "--plot", str(picture), "--steps", "10"]
    done = CliRunner().invoke(train_command, [*arguments, "--device", "cpu", "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["families"] == 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    load(out, CPU)


@pytest.mark.slow
def test_the_detectors_of_the_papers_are_trained_by_the_same_command(tmp_path):
    write_zoo(tmp_path / "zoo", 1)
    for name in ("np-detector", "nl-detector"):
        out = tmp_path / f"{name}.safetensors"
        arguments = [name, str(tmp_path / "zoo"), "--out", str(out), "--epochs", "1", "--device", "cpu", "--json"]
        done = CliRunner().invoke(train_command, arguments, catch_exceptions=False)
        assert json.loads(done.stdout)["families"] == 1
        assert out.stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "twice"), [((), True), (("--softmax", "twice"), True), (("--softmax", "once"), False)]
)
def test_the_loss_of_the_paper_and_that_of_its_code_can_be_chosen(tmp_path, words, twice):
    write_zoo(tmp_path / "zoo", 1)
    out = tmp_path / "np.safetensors"
    arguments = ["np-detector", str(tmp_path / "zoo"), "--out", str(out), "--epochs", "1", "--device", "cpu", *words]
    CliRunner().invoke(train_command, arguments, catch_exceptions=False)
    with safe_open(out, "pt") as file:
        assert json.loads(file.metadata()["plan"])["softmax_twice"] is twice


def test_a_folder_without_families_is_refused(tmp_path):
    for name in ("detector", "np-detector", "nl-detector"):
        done = CliRunner().invoke(train_command, [name, str(tmp_path), "--out", str(tmp_path / "o")])
        assert "fam" in str(done.exception)
        assert not (tmp_path / "o").exists()


def test_the_zoo_is_built_from_the_source_only(tmp_path, monkeypatch):
    monkeypatch.setattr("lineage.commands.train.SOURCE", tmp_path)
    done = CliRunner().invoke(zoo_command, ["build", "--out", str(tmp_path)])
    assert "source tree" in str(done.exception)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_training_on_cuda_learns_too():
    found = examples(2)
    network = fit_direction(found, SHORT, TrainingRun(torch.device("cuda")), "direction")
    assert next(network.parameters()).is_cuda
    odds = came_first_of(network, found[0].tokens, found[0].pairs, len(found[0].models))
    assert all(float(odds[c, p]) > 0 for c, p in enumerate(found[0].parent.tolist()) if p >= 0)
