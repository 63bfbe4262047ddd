"""The zoo: descriptions that rebuild the same models, training that is torch's, and truth that agrees with the files."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from safetensors.torch import load_file

from bench.datasets import ALPHABET, PICTURES, TEXTS, VARIABLE, Data, DataMissing, from_environment, read_idx, tokens
from bench.zoo.__main__ import ARCHITECTURES as OFFERED
from bench.zoo.__main__ import main
from bench.zoo.architectures import ARCHITECTURES, READS_TEXT, build
from bench.zoo.build import built, low_rank, rounded, train_family, trained_names, write_family
from bench.zoo.description import Family, Member, Recipe
from bench.zoo.grow import LONG_RUN, SHAPES
from bench.zoo.plan import catalogue, describe, first_models
from bench.zoo.tasks import PICTURE_CHANGES, TEXT_CHANGES, Task, stream
from bench.zoo.train import Lane, TrainingStates, at_once, rate, train

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SHIPPED = Data(None)
PLAIN = Task("mnist", "plain", 0, None, 3)
RECIPE = Recipe(PLAIN, "adamw", 1e-3, 0.01, "constant", 8, (12,))
SMALL = (("widths", (8, 12, 16)), ("norm", "batch"), ("bias", True), ("channels", 1))


def small_family() -> Family:
    """Two starts of one seed, a run, a partly frozen child with a larger head, a cast copy, a plain copy, a merge."""
    frozen = replace(RECIPE, tune="head", head="grow", frozen_stats=True)
    members = (
        Member(("root",), (), None, RECIPE, 1, "float32", 0),
        Member(("twin",), (), None, replace(RECIPE, task=replace(PLAIN, draw=9)), 1, "float32", 0),
        Member(("a1", "a2"), ("root",), "finetune", replace(RECIPE, saves=(5, 10)), 2, "float32", 1, "module."),
        Member(("b",), ("root",), "finetune", replace(RECIPE, optimiser="sgd", learning_rate=0.01), 2, "float16", 1),
        Member(("head",), ("root",), "finetune-part-frozen", frozen, 4, "float32", 1),
        Member(("same",), ("root",), "copy", None, 0, "float32", 1),
        Member(("half",), ("a2",), "cast", None, 0, "bfloat16", 2),
        Member(("mean",), ("a1", "b"), "merge", None, 0, "float32", 2),
    )
    return Family("conv-bn-test", "conv-bn", SMALL, 10, 1, "default", "star", "tune", "mixed", members)


@pytest.fixture(scope="module")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    write_family(small_family(), train_family(small_family(), SHIPPED, CPU), folder, SHIPPED.source)
    return folder / "conv-bn-test"


def read(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.stem: load_file(path) for path in folder.glob("*.safetensors")}


# Descriptions


def test_the_catalogue_holds_two_thousand_models_and_every_architecture_and_shape_in_both_halves() -> None:
    families = catalogue()
    assert sum(family.count for family in families) >= 2000
    assert len({family.name for family in families}) == len(families)
    for split in ("tune", "report"):
        half = [family for family in families if family.split == split]
        assert len(half) * 2 == len(families)
        assert {family.architecture for family in half} == set(ARCHITECTURES)
        assert {family.shape for family in half} == {*SHAPES, LONG_RUN}


def test_every_recipe_that_the_bench_promises_occurs_in_both_halves() -> None:
    for split in ("tune", "report"):
        recipes = [m.recipe for f in catalogue() if f.split == split for m in f.members if m.recipe]
        members = [m for f in catalogue() if f.split == split for m in f.members]
        assert {"sgd", "adam", "adamw"} == {recipe.optimiser for recipe in recipes}
        assert {0.0, 1e-4, 0.01, 0.1} <= {recipe.weight_decay for recipe in recipes}
        assert {"constant", "cosine", "warmup", "warmup-cosine"} == {recipe.schedule for recipe in recipes}
        assert {"full", "head", "last", "upper", "vectors"} == {recipe.tune for recipe in recipes}
        assert {"keep", "new", "grow"} == {recipe.head for recipe in recipes}
        assert {"few-shot", "own data", "new task", "far", "low rank", "heavy decay", "run"} <= {
            recipe.note for recipe in recipes
        }
        assert {"float32", "float16", "bfloat16"} == {member.storage for member in members}
        assert {"copy", "cast", "quantized", "merge"} <= {member.relation for member in members}


def test_a_name_always_describes_the_same_family_and_two_names_never_do() -> None:
    assert describe("fc", 3) == describe("fc", 3)
    prints = [family.fingerprint for family in catalogue({"short": 4, "long": 4, "run": 4})]
    assert len(set(prints)) == len(prints)


def test_long_trainings_are_longer_and_runs_of_them_leave_more_files() -> None:
    for split in ("tune", "report"):
        half = [f for f in catalogue() if f.split == split]
        short, patient = (
            [f for f in half if f.name.count("-long-") == long and f.shape != LONG_RUN] for long in (0, 1)
        )
        steps = [[m.recipe.saves[-1] for f in some for m in f.members if m.recipe] for some in (short, patient)]
        assert sum(steps[1]) / len(steps[1]) > 4 * sum(steps[0]) / len(steps[0])
        files = [max(len(m.names) for f in some for m in f.members) for some in (short, patient)]
        assert files[1] >= 15 > files[0]


def test_long_runs_begin_with_the_first_steps_and_are_of_every_architecture() -> None:
    for split in ("tune", "report"):
        families = [f for f in catalogue() if f.split == split and f.shape == LONG_RUN]
        assert {f.architecture for f in families} == set(ARCHITECTURES)
        for family in families:
            saves = family.members[0].recipe.saves
            assert 12 <= len(saves) <= 27 and saves[0] <= saves[-1] / len(saves) + 1
            assert saves[-1] >= 500


def test_parents_are_planned_before_their_children() -> None:
    for family in catalogue({"short": 6, "long": 4, "run": 2}):
        level = {name: member.generation for member in family.members for name in member.names}
        assert len(level) == family.count
        for member in family.members:
            assert all(level[parent] < member.generation for parent in member.parents)
            assert bool(member.parents) == (member.relation is not None)


def test_the_first_models_are_whole_families_and_enough() -> None:
    families = first_models(catalogue(), 100)
    assert sum(family.count for family in families) >= 100 > sum(family.count for family in families[:-1])


def test_networks_have_between_twenty_and_three_hundred_thousand_values() -> None:
    for family in catalogue({"short": 4, "long": 4, "run": 4}):
        network = build(family.architecture, family.outputs, dict(family.sizes), 0, family.start)
        assert 20_000 <= sum(p.numel() for p in network.parameters()) <= 300_000, family.name


def test_the_command_offers_the_architectures_that_there_are() -> None:
    assert set(OFFERED) == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stages_cover_the_network_from_input_to_head(architecture: str) -> None:
    family = describe(architecture, 1)
    network = build(architecture, family.outputs, dict(family.sizes), 0)
    names = [name for name, _ in network.named_parameters()]
    for stage in network.stages:
        assert any(name.startswith(stage) for name in names), stage
    head, last, upper, full = (trained_names(network, tune) for tune in ("head", "last", "upper", "full"))
    assert head < last <= upper < full == set(names)
    with pytest.raises(ValueError, match="sideways"):
        trained_names(network, "sideways")


# Training


def pieces(architecture: str, steps: int, draw: int = 0):
    text = architecture in READS_TEXT
    task = Task("shakespeare" if text else "mnist", "plain", 0, None, draw)
    channels = dict(describe(architecture, 1).sizes).get("channels", 1)
    return stream(task, SHIPPED, text=text, channels=channels, batch=8, steps=steps, device=CPU)


def apart(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> float:
    """Distance over all tensors. Single values may differ: Adam makes a whole step of a gradient that is nothing but rounding."""
    return sum(float((a[name].double() - b[name].double()).square().sum()) for name in b) ** 0.5


@pytest.mark.parametrize("architecture", ["conv-bn", "lstm", "llama"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_training_is_what_torch_does(architecture: str, optimiser: str) -> None:
    """The reference: torch's own optimiser, schedule by hand, one model."""
    steps, decay, speed = 6, 0.05, 0.003
    family = describe(architecture, 1)
    network = build(architecture, family.outputs, dict(family.sizes), 5)
    start = {n: t.clone() for n, t in network.state_dict().items()}
    batches = pieces(architecture, steps)
    lane = Lane(start, batches, optimiser, speed, decay, "warmup-cosine", (steps,), clip=1.0)
    ours = train(network, [lane], CPU, together=False)[0]
    reference = build(architecture, family.outputs, dict(family.sizes), 5)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    extra = {"momentum": 0.9} if optimiser == "sgd" else {}
    torchs = kinds[optimiser](reference.parameters(), lr=speed, weight_decay=decay, **extra)
    for step in range(steps):
        torchs.param_groups[0]["lr"] = speed * rate("warmup-cosine", step, steps)
        torchs.zero_grad()
        inputs, targets = batches(step)
        F.cross_entropy(reference(inputs).flatten(0, -2), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
        torchs.step()
    assert apart(ours.states[0], reference.state_dict()) < 0.003 * apart(start, reference.state_dict())
    assert all(torch.equal(tensor, lane.start[name]) for name, tensor in start.items())


@pytest.mark.parametrize("architecture", ["fc", "conv-bn", "resnet", "mobile", "vit", "gpt", "llama"])
def test_all_lanes_at_once_agree_with_one_lane_after_the_other(architecture: str) -> None:
    family = describe(architecture, 1)
    network = build(architecture, family.outputs, dict(family.sizes), 1)
    lanes = []
    for i, kind in enumerate(("sgd", "adamw", "adamw")):
        start = build(architecture, family.outputs, dict(family.sizes), i).state_dict()
        lanes.append(Lane(dict(start), pieces(architecture, 5, i), kind, 1e-3, 0.01, "constant", (2, 5) if i else (3,)))
    alone = train(network, lanes, CPU, together=False)
    network = build(architecture, family.outputs, dict(family.sizes), 1)
    together = train(network, lanes, CPU, together=True)
    for one, other, start in zip(alone, together, (lane.start for lane in lanes), strict=True):
        assert len(one.states) == len(other.states)
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
        assert apart(one.states[-1], other.states[-1]) < 0.01 * apart(one.states[-1], start)


def one_lane(**settings: object) -> tuple[dict[str, torch.Tensor], TrainingStates]:
    network = build("conv-bn", 10, dict(SMALL), 2)
    start = {n: t.clone() for n, t in network.state_dict().items()}
    given = {
        "optimiser": "adam",
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "schedule": "constant",
        "saves": (4,),
    } | settings
    return start, train(network, [Lane(start, pieces("conv-bn", 4), **given)], CPU, together=False)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_frozen_tensors_stay_bit_for_bit_and_the_others_move(optimiser: str) -> None:
    start, trained = one_lane(optimiser=optimiser, frozen=frozenset({"features.0.0.weight"}), frozen_stats=True)
    after = trained.states[0]
    assert torch.equal(after["features.0.0.weight"], start["features.0.0.weight"])
    assert not torch.equal(after["features.1.0.weight"], start["features.1.0.weight"])
    assert torch.equal(after["features.0.1.running_mean"], start["features.0.1.running_mean"])


def test_batch_norm_counts_the_steps() -> None:
    start, trained = one_lane()
    assert int(trained.states[0]["features.0.1.num_batches_tracked"]) == 4
    assert int(start["features.0.1.num_batches_tracked"]) == 0


def test_decay_without_vectors_leaves_a_bias_without_gradient_alone() -> None:
    """A bias before batch norm gets no gradient beyond rounding: under SGD decay alone moves it."""
    settings = {"optimiser": "sgd", "learning_rate": 0.1, "weight_decay": 0.5}
    start, with_vectors = one_lane(**settings, decay_vectors=True)
    _, without = one_lane(**settings, decay_vectors=False)
    bias = "features.0.0.bias"
    torch.testing.assert_close(without.states[0][bias], start[bias], rtol=0, atol=1e-5)
    assert with_vectors.states[0][bias].norm() < 0.95 * start[bias].norm()


def test_a_schedule_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="zigzag"):
        rate("zigzag", 0, 10)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "warmup", "warmup-cosine"])
def test_schedules_stay_between_nothing_and_the_whole_rate(schedule: str) -> None:
    rates = [rate(schedule, step, 50) for step in range(50)]
    assert all(0 <= r <= 1 for r in rates)
    assert max(rates) > 0.9


def test_low_rank_keeps_so_many_directions_of_the_change() -> None:
    generator = torch.Generator().manual_seed(0)
    parent = {"w": torch.randn(20, 30, generator=generator), "c": torch.randn(8, 4, 3, 3, generator=generator)}
    child = {n: t + 0.1 * torch.randn(t.shape, generator=generator) for n, t in parent.items()}
    merged = low_rank(child, parent, 3)
    for name, tensor in merged.items():
        assert torch.linalg.matrix_rank((tensor - parent[name]).flatten(1).double(), rtol=1e-4) == 3
        assert (tensor - child[name]).norm() < (parent[name] - child[name]).norm()


def test_rounded_rows_have_few_levels_and_stay_near() -> None:
    weights = torch.randn(4, 2000, generator=torch.Generator().manual_seed(1))
    coarse = rounded({"w": weights, "b": weights[0]})
    for row, before in zip(coarse["w"], weights, strict=True):
        assert len(row.unique()) <= 255
        assert (row - before).abs().max() <= before.abs().max() / 127
    assert torch.equal(coarse["b"], weights[0])


# What is written


def test_files_and_truth_name_the_same_models(family_folder: Path) -> None:
    truth = json.loads((family_folder / "truth.json").read_text())
    names = set(read(family_folder))
    assert {model["id"] for model in truth["models"]} == names == {n for m in small_family().members for n in m.names}
    assert {name for tree in truth["trees"].values() for name in tree} == names
    assert sum(len(tree) for tree in truth["trees"].values()) == len(names)
    assert {root["model"] for root in truth["roots"]} == {"root", "twin"}
    assert not {pair["child"] for pair in truth["pairs"]} & {"root", "twin"}
    assert truth["same_run"] == [["a1", "a2"]]
    assert truth["duplicates"] == [["root", "same"]]
    assert truth["hideable"] == ["root"]
    assert truth["unknown"] == []


def test_pairs_say_what_was_done_and_how_far_it_went(family_folder: Path) -> None:
    pairs = json.loads((family_folder / "truth.json").read_text())["pairs"]
    told = {(pair["child"], pair["parent"]): pair for pair in pairs}
    assert told["a2", "a1"]["relation"] == "continued"
    assert told["a1", "root"]["relation"] == "finetune"
    assert told["head", "root"]["relation"] == "finetune-part-frozen"
    assert told["same", "root"]["moved"] == 0
    assert 0 < told["half", "a2"]["moved"] < 0.01
    assert 0.001 < told["b", "root"]["moved"] < 0.6
    assert {("mean", "a1"), ("mean", "b")} <= set(told)


def test_files_are_stored_as_described(family_folder: Path) -> None:
    models = read(family_folder)
    assert models["b"]["classifier.weight"].dtype == torch.float16
    assert models["half"]["classifier.weight"].dtype == torch.bfloat16
    assert set(models["a1"]) == {"module." + name for name in models["root"]}
    frozen, root = models["head"], models["root"]
    assert frozen["classifier.weight"].shape == (14, 16)
    assert all(torch.equal(frozen[name], root[name]) for name in root if not name.startswith("classifier"))
    middle = (models["a1"]["module.classifier.weight"] + models["b"]["classifier.weight"].float()) / 2
    torch.testing.assert_close(models["mean"]["classifier.weight"], middle)


def test_a_family_is_rebuilt_bit_for_bit(family_folder: Path, tmp_path: Path) -> None:
    write_family(small_family(), train_family(small_family(), SHIPPED, CPU), tmp_path, SHIPPED.source)
    again = tmp_path / "conv-bn-test"
    assert (again / "truth.json").read_text() == (family_folder / "truth.json").read_text()
    for path in family_folder.glob("*.safetensors"):
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_only_the_family_that_is_described_now_counts_as_built(family_folder: Path, tmp_path: Path) -> None:
    assert built(family_folder, small_family().fingerprint)
    assert not built(family_folder, replace(small_family(), outputs=11).fingerprint)
    assert not built(tmp_path / "nothing", small_family().fingerprint)


def test_roots_learn_their_task() -> None:
    recipe = replace(RECIPE, saves=(150,), batch=32, learning_rate=3e-3)
    family = replace(small_family(), members=(Member(("root",), (), None, recipe, 1, "float32", 0),))
    learned = train_family(family, SHIPPED, CPU)
    assert learned.losses["root"] < 0.5 * learned.chance


def test_the_command_builds_families_and_builds_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    small = [f for f in catalogue() if f.architecture == "fc"]
    chosen = min(small, key=lambda f: sum(m.recipe.saves[-1] for m in f.members if m.recipe))
    asked = ["--out", str(tmp_path), "--family", chosen.name, "--jobs", "1", "--device", "cpu"]
    first = CliRunner().invoke(main, asked, catch_exceptions=False)
    assert first.exit_code == 0
    assert "scikit-learn" in first.stderr
    assert json.loads(first.stdout.splitlines()[-1])["models"] == chosen.count
    assert len(read(tmp_path / chosen.name)) == chosen.count
    second = CliRunner().invoke(main, asked, catch_exceptions=False)
    assert "to build 0, 0" in second.stderr


# Data


@pytest.mark.parametrize("source", PICTURES)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_come_in_one_shape_whatever_the_set(source: str, channels: int) -> None:
    for change in PICTURE_CHANGES:
        batches = stream(
            Task(source, change, 0, None, 1), SHIPPED, text=False, channels=channels, batch=6, steps=2, device=CPU
        )
        images, labels = batches(1)
        assert images.shape == (6, channels, 16, 16)
        assert images.isfinite().all()
        assert 0 <= labels.min() <= labels.max() < 10


@pytest.mark.parametrize("source", TEXTS)
def test_text_targets_are_the_next_characters(source: str) -> None:
    for change in TEXT_CHANGES:
        batches = stream(Task(source, change, 1, 16, 1), SHIPPED, text=True, channels=1, batch=4, steps=9, device=CPU)
        inputs, targets = batches(8)
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        assert targets.max() < len(ALPHABET)


def test_few_pictures_are_the_same_few_in_every_pass() -> None:
    batches = stream(Task("mnist", "plain", 0, 8, 1), SHIPPED, text=False, channels=1, batch=8, steps=3, device=CPU)
    passes = [{bytes(image.numpy().tobytes()) for image in batches(step)[0]} for step in range(3)]
    assert passes[0] == passes[1] == passes[2]


def test_text_outside_the_alphabet_reads_as_a_question_mark() -> None:
    assert tokens("a\té").tolist() == [ALPHABET.index("a"), ALPHABET.index("?"), ALPHABET.index("?")]


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(DataMissing, match="gone"):
        from_environment()
    result = CliRunner().invoke(main, ["--out", str(tmp_path / "zoo"), "--models", "1", "--device", "cpu"])
    assert result.exit_code == 1
    assert "gone" in result.stderr
    assert "try:" in result.stderr


def test_a_folder_without_the_sets_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    data = from_environment()
    for ask in (lambda: data.pictures("mnist"), lambda: data.text("shakespeare")):
        with pytest.raises(DataMissing) as failure:
            ask()
        assert VARIABLE in str(failure.value.try_next)


def test_idx_files_are_read_and_broken_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "some-idx3-ubyte.gz"
    header = b"\x00\x00\x08\x03" + struct.pack(">iii", 2, 3, 4)
    path.write_bytes(gzip.compress(header + bytes(range(24))))
    assert read_idx(path).shape == (2, 3, 4)
    assert read_idx(path)[1, 2, 3] == 23
    broken = (b"", b"\x00\x00\x08", b"\x00\x00\x0d\x01" + bytes(8), header + bytes(23), header[:9])
    broken += (b"\x00\x00\x08\x01" + struct.pack(">i", -5),)
    for raw in broken:
        path.write_bytes(gzip.compress(raw))
        with pytest.raises(DataMissing):
            read_idx(path)
    for raw in (b"no gzip", gzip.compress(header + bytes(24))[:20]):
        path.write_bytes(raw)
        with pytest.raises(DataMissing):
            read_idx(path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_accelerator_trains_the_same_models(architecture: str) -> None:
    family = describe(architecture, 1)
    start = dict(build(architecture, family.outputs, dict(family.sizes), 3).state_dict())
    trained = []
    for device in (CPU, torch.device("cuda")):
        network = build(architecture, family.outputs, dict(family.sizes), 3)
        task = Task("shakespeare" if architecture in READS_TEXT else "mnist", "plain", 0, None, 1)
        text, channels = architecture in READS_TEXT, family.channels
        batches = stream(task, SHIPPED, text=text, channels=channels, batch=8, steps=5, device=device)
        lanes = [Lane(start, batches, "sgd", 0.01, 0.01, "constant", (5,)) for _ in range(2)]
        trained.append(train(network.to(device), lanes, device, at_once(architecture, len(lanes), device)))
    for one, other in zip(*trained, strict=True):
        assert apart(one.states[-1], other.states[-1]) < 0.02 * apart(one.states[-1], start)
