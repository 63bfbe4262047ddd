"""Groups with too many models for all pairs: exact neighbours, families of bounded size, and increments that touch few of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.architecture import ArchitectureModels
from lineage.deciding import GroupAnswer, decide_models
from lineage.detect.align import NotComparable
from lineage.detect.groups import groups_of
from lineage.detect.large_groups import GONE, FamilyTask, LargeGroup, families, grouped, load
from lineage.detect.model_input import Subject
from lineage.detect.neighbours import Neighbours, VectorFile, extended, nearest_of_all, places_in, vector_of
from lineage.detect.options import Options
from lineage.detect.sketch_file import Sketch
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Model, Status, keys_in
from lineage.large_deciding import decide_large
from tests.builders import Weights, sketch_of, start, tune

CPU = torch.device("cpu")
SHAPES = {"layers.0.weight": (32, 48), "layers.1.weight": (24, 32), "layers.1.bias": (24,)}


def forest(trees: int, size: int) -> tuple[dict[str, Weights], dict[str, str]]:
    """Models by name and child -> parent, the trees one after the other."""
    models: dict[str, Weights] = {}
    parents: dict[str, str] = {}
    for tree in range(trees):
        for place in range(size):
            name = f"t{tree}m{place}"
            if place == 0:
                models[name] = start(100 * tree, SHAPES)
            else:
                parents[name] = f"t{tree}m{(place - 1) // 3}"
                models[name] = tune(models[parents[name]], 100 * tree + place, 0.3)
    return models, parents


def restricted(models: dict[str, Weights]) -> list[Sketch]:
    """Sketches under the names within their backbone."""
    (group,) = groups_of([Subject(name, sketch_of(weights, name)) for name, weights in models.items()])
    return [member.subject.sketch for member in group.members]


def vectors_in(folder: Path, sketches: Sequence[Sketch]) -> VectorFile:
    places = places_in(sketches)
    made = np.stack([vector_of(sketch, places) for sketch in sketches])
    file = VectorFile(folder / "vectors.f32", made[:8].mean(0).astype(np.float32))
    file.append(made)
    return file


def exact(file: VectorFile) -> np.ndarray:
    rows = file.rows(0, len(file), CPU).numpy().astype(np.float64)
    apart = np.square(rows[:, None] - rows[None]).sum(2)
    np.fill_diagonal(apart, np.inf)
    return apart


@pytest.mark.parametrize("block", [1, 7, 16, 1000])
def test_neighbours_are_the_exact_ones_however_the_blocks_are_cut(tmp_path: Path, block: int) -> None:
    file = vectors_in(tmp_path, restricted(forest(3, 12)[0]))
    found = nearest_of_all(file, CPU, 5, block)
    apart = exact(file)
    assert found.index.tolist() == np.argsort(apart, 1)[:, :5].tolist()
    assert np.allclose(found.distance.numpy(), np.sort(apart, 1)[:, :5], atol=1e-5)


def test_new_models_change_the_neighbours_as_if_all_had_been_there(tmp_path: Path) -> None:
    sketches = restricted(forest(3, 12)[0])
    (tmp_path / "all").mkdir()
    (tmp_path / "parts").mkdir()
    whole = vectors_in(tmp_path / "all", sketches)
    parts = VectorFile(tmp_path / "parts" / "vectors.f32", whole.around)
    places, known = places_in(sketches), Neighbours.none(0, 5)
    for some in (sketches[:13], sketches[13:15], sketches[15:]):
        parts.append(vector_of(sketch, places) for sketch in some)
        known = extended(known, parts, CPU, 4)
    assert known.index.tolist() == nearest_of_all(whole, CPU, 5).index.tolist()


def test_a_model_alone_has_no_neighbours_and_lacking_tensors_count_as_zeros(tmp_path: Path) -> None:
    models, _ = forest(1, 4)
    sketches = restricted(models)
    places = places_in(sketches)
    lacking = restricted({"x": {**models["t0m0"], "layers.1.weight": models["t0m0"]["layers.1.weight"][:, :16].copy()}})
    assert np.linalg.norm(vector_of(lacking[0], places)) == pytest.approx(1.0)
    alone = vectors_in(tmp_path, sketches[:1])
    assert nearest_of_all(alone, CPU, 3).index.tolist() == [[-1, -1, -1]]


def test_models_without_weights_in_common_are_not_comparable() -> None:
    with pytest.raises(NotComparable):
        places_in(restricted({"x": {"layers.0.bias": np.ones(8, np.float32)}}))


def test_families_are_connected_parts_and_parts_too_large_are_divided(tmp_path: Path) -> None:
    file = vectors_in(tmp_path, restricted(forest(3, 20)[0]))
    near = nearest_of_all(file, CPU)
    whole = families(near, 100)
    assert [len(set(whole[20 * tree : 20 * tree + 20])) for tree in range(3)] == [1, 1, 1] and len(set(whole)) == 3
    divided = families(near, 8)
    assert max(map(divided.count, divided)) <= 8 and all(divided[i] // 20 == i // 20 for i in range(60))


def test_a_divided_family_is_decided_beside_its_nearest_outsiders_and_its_hubs(tmp_path: Path) -> None:
    file = vectors_in(tmp_path, restricted(forest(1, 30)[0]))
    near = nearest_of_all(file, CPU)
    group = LargeGroup([str(i) for i in range(30)], (), file, near, families(near, 10))
    tasks = list(group.tasks())
    assert sorted(member for task in tasks for member in task.members) == list(range(30))
    for task in tasks:
        assert not set(task.members) & set(task.guests)
        parents = {(member - 1) // 3 for member in task.members if member}
        assert parents <= set(task.members) | set(task.guests), "every true parent is at hand"


def of(sketches: Sequence[Sketch]) -> Callable[[Sequence[int]], list[Sketch | None]]:
    return lambda places: [sketches[place] for place in places]


def test_of_an_increment_a_small_family_with_a_new_member_is_decided_again(tmp_path: Path) -> None:
    models, _ = forest(4, 12)
    names, sketches = list(models), restricted(models)
    order = [i for i, name in enumerate(names) if name != "t2m11"] + [names.index("t2m11")]
    names, sketches = [names[i] for i in order], [sketches[i] for i in order]
    group, changed = grouped(names[:-1], of(sketches), tmp_path, CPU, 50)
    assert changed is None and len(list(group.tasks())) == 4
    group, changed = grouped(names[:-1], of(sketches), tmp_path, CPU, 50)
    assert changed == frozenset(), "nothing is new"
    assert not list(group.tasks(changed))
    group, changed = grouped(names, of(sketches), tmp_path, CPU, 50)
    (task,) = group.tasks(changed)
    assert isinstance(task, FamilyTask) and {names[m][:2] for m in task.members} == {"t2"} and len(task.members) == 12


def test_of_a_family_that_an_increment_hardly_changes_the_changed_models_are_decided_beside_their_parents(
    tmp_path: Path,
) -> None:
    models, parents = forest(2, 80)
    names, sketches = list(models), restricted(models)
    order = [i for i, name in enumerate(names) if name != "t0m20"] + [names.index("t0m20")]
    names, sketches = [names[i] for i in order], [sketches[i] for i in order]
    grouped(names[:-1], of(sketches), tmp_path, CPU)
    group, changed = grouped(names, of(sketches), tmp_path, CPU)
    (task,) = group.tasks(changed)
    assert changed == frozenset(task.members) and 2 <= len(task.members) <= 6
    decided = {names[member] for member in task.members}
    at_hand = decided | {names[guest] for guest in task.guests}
    assert decided > {"t0m20"} and len(at_hand) < 60
    assert {parents[name] for name in decided if name in parents} <= at_hand
    nearest = group.neighbours.index[:, 0].tolist()
    assert all(nearest[member] == 159 for member in changed - {159}), "others keep the answers that they have"


def test_where_a_model_is_gone_or_has_other_weights_only_its_near_neighbours_are_decided_again(tmp_path: Path) -> None:
    models, _ = forest(2, 80)
    names, sketches = list(models), restricted(models)
    grouped(names, of(sketches), tmp_path, CPU)
    leaf = names.index("t0m20")
    again = [*names[:leaf], "t0m20 with other weights", *names[leaf + 1 :]]
    group, changed = grouped(again, of(sketches), tmp_path, CPU)
    assert group.ids[leaf] == "" and group.ids[-1] == "t0m20 with other weights" and changed is not None
    assert leaf not in changed and len(names) in changed and {names[m][:2] for m in changed - {160}} == {"t0"}
    assert not (group.neighbours.index == leaf).any() and (group.neighbours.index[leaf] == -1).all()
    (task,) = group.tasks(changed)
    assert leaf not in (*task.members, *task.guests)
    group, changed = grouped(
        [*names[:leaf], *names[leaf + 1 :]], of([*sketches[:leaf], *sketches[leaf + 1 :]]), tmp_path, CPU
    )
    assert changed and group.family.count(GONE) == 2
    assert sum(len(task.members) for task in group.tasks()) == 159
    anew, changed = grouped(names[20:], of(sketches[20:]), tmp_path, CPU)
    assert changed is None and len(anew.ids) == 140, "where too many are gone all is made anew"


@pytest.mark.parametrize("damage", ["state", "neighbours", "vectors"])
def test_a_damaged_folder_is_made_anew(tmp_path: Path, damage: str) -> None:
    models, _ = forest(2, 8)
    sketches = restricted(models)
    grouped(list(models), lambda places: [sketches[p] for p in places], tmp_path, CPU)
    name = {"state": "state.json", "neighbours": "neighbours.npz", "vectors": "vectors.f32"}[damage]
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert load(tmp_path) is None
    group, touched = grouped(list(models), lambda places: [sketches[p] for p in places], tmp_path, CPU)
    assert touched is None and len(group.ids) == 16


@pytest.mark.slow
def test_a_large_group_is_decided_as_a_small_one_is_where_families_are_whole(tmp_path: Path) -> None:
    models, parents = forest(3, 12)
    store, kept = SketchStore(tmp_path / "sketches"), []
    for name, weights in models.items():
        sketch = sketch_of(weights, name)
        store.keep(sketch)
        kept.append(
            Model(f"id-{name}", name, Status.SKETCHED, weights_digest=sketch.digest, signature=sketch.signature)
        )
    (key,) = keys_in(str(kept[0].signature))
    known = ArchitectureModels(kept, {}, (), frozenset())
    at_once = decide_models(known, key, (key,), store, Options())
    by_families = decide_large(known, key, key, store, Options(), folder=tmp_path / "kept")

    def as_text(answer: GroupAnswer) -> list[tuple[str, str, str | None, float]]:
        return sorted((s.model, str(d.answer), d.parent, round(d.probability, 4)) for s, d in answer.said)

    assert as_text(by_families) == as_text(at_once) and by_families.readable == at_once.readable
    right = sum(d.parent == f"id-{parents[s.model[3:]]}" for s, d in by_families.said if s.model[3:] in parents)
    assert right >= 0.7 * len(parents), "undecided ones are among them, wrong ones are not what this is about"
    again = decide_large(known, key, key, store, Options(), folder=tmp_path / "kept")
    assert not again.said and again.readable == by_families.readable, "nothing is new, so everything stays"
