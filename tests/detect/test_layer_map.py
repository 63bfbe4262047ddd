"""Models that lost layers, were stacked, or grew: the parent is named, with the layers it gave."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.group_decisions import decide_groups
from lineage.detect.layer_map import decide_by_layers, layer_map
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.paired_blocks import blocks_of
from lineage.detect.pipeline import decide
from lineage.graphdb.schema import Relation
from tests.builders import sketch_of

WIDE = 24


def network(depth: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {"embeddings.weight": rng.normal(size=(50, WIDE)).astype(np.float32)}
    for i in range(depth):
        for name, shape in {"attn.weight": (WIDE, WIDE), "mlp.weight": (2 * WIDE, WIDE)}.items():
            tensors[f"layers.{i}.{name}"] = rng.normal(size=shape).astype(np.float32)
        tensors[f"layers.{i}.norm.weight"] = (1 + 0.1 * rng.normal(size=WIDE)).astype(np.float32)
    return tensors


def made_of(
    layers: list[tuple[dict[str, np.ndarray], int]], noise: float = 0.0, seed: int = 9
) -> dict[str, np.ndarray]:
    """A model whose layers are those, changed a little."""
    rng = np.random.default_rng(seed)
    tensors = {"embeddings.weight": layers[0][0]["embeddings.weight"]}
    for place, (source, number) in enumerate(layers):
        for name, values in source.items():
            if name.startswith(f"layers.{number}."):
                moved = values + noise * rng.normal(size=values.shape)
                tensors[f"layers.{place}." + name.split(".", 2)[2]] = moved.astype(np.float32)
    return tensors


def subject(name: str, tensors: dict[str, np.ndarray]) -> Subject:
    return Subject(name, sketch_of(tensors))


PARENT, STRANGER = network(12, 0), network(12, 1)


@pytest.mark.parametrize("kept", [[0, 2, 4, 6, 8, 10], [0, 1, 2, 3, 4, 11], [5, 6, 7]])
@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_a_model_that_kept_some_layers_is_from_its_parent_with_the_right_map(kept: list[int], noise: float) -> None:
    child = subject("child", made_of([(PARENT, i) for i in kept], noise))
    found = decide_by_layers(child, [subject("stranger", STRANGER), subject("parent", PARENT)])
    assert found is not None and (found.parent, found.relation) == ("parent", Relation.FINE_TUNED_FROM)
    assert found.evidence["layers"] == ",".join(map(str, kept)) and found.probability > 0.8


@pytest.mark.parametrize("kept", [((0, 2, 4, 6, 8, 10), tuple(range(12))), ((0, 3, 9), (0, 1, 2, 3, 4, 5, 11))])
def test_each_part_of_a_model_has_its_own_map(kept: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """The decoder is the larger part of the parent and, cut, the smaller one of the child."""
    base = {"encoder": network(12, 3), "decoder": {n: np.tile(v, (2,) * v.ndim) for n, v in network(12, 4).items()}}
    parts = dict(zip(("decoder", "encoder"), kept, strict=True))
    child = {part: made_of([(base[part], i) for i in parts[part]], 0.2) for part in base}
    whole, cut = ({f"{p}.{n}": v for p, some in m.items() for n, v in some.items()} for m in (base, child))
    found = decide_by_layers(subject("child", cut), [subject("stranger", STRANGER), subject("parent", whole)])
    assert found is not None and found.parent == "parent" and found.probability > 0.8
    said = {p: ",".join(map(str, own)) for p, own in parts.items() if len(own) < 12}
    layers = str(found.evidence["layers"])
    if len(said) == 1:
        assert layers == said["decoder"]
    else:
        assert sorted(layers.split("; ")) == sorted(f"{p} {text}" for p, text in said.items())


def test_the_deeper_one_is_not_made_from_the_one_that_lost_layers() -> None:
    child = subject("child", made_of([(PARENT, i) for i in (0, 3, 6, 9)], 0.1))
    assert decide_by_layers(subject("parent", PARENT), [child]) is None


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_model_stacked_from_one_is_merged_from_it(noise: float) -> None:
    order = [*range(8), *range(4, 12)]
    found = decide_by_layers(
        subject("stack", made_of([(PARENT, i) for i in order], noise)), [subject("parent", PARENT)]
    )
    assert found is not None and (found.parent, found.relation) == ("parent", Relation.MERGED_FROM)
    assert found.evidence["layers"] == ",".join(map(str, order))


def test_a_model_is_not_made_from_a_stack_of_its_own_layers_and_its_own_children_name_it() -> None:
    base, stack = subject("base", PARENT), subject("stack", made_of([(PARENT, i) for i in [*range(8), *range(4, 12)]]))
    assert decide_by_layers(base, [stack]) is None
    found = decide_by_layers(subject("child", made_of([(PARENT, i) for i in (0, 2, 5, 9)], 0.2)), [stack, base])
    assert found is not None and found.parent == "base" and found.probability > 0.8


def test_a_passthrough_of_two_models_has_both_as_parents_with_their_layers() -> None:
    other = network(12, 5)
    mixed = made_of([(PARENT, i) for i in range(8)] + [(other, i) for i in range(4, 12)])
    found = decide_by_layers(
        subject("mixed", mixed), [subject("a", PARENT), subject("b", other), subject("c", STRANGER)]
    )
    assert found is not None and found.relation is Relation.MERGED_FROM
    assert dict(found.merged_from) == {"a": 0.5, "b": 0.5}
    assert found.evidence["layers"]["a"].startswith("0,1,2,3,4,5,6,7,-")
    assert found.evidence["layers"]["b"].endswith("-,4,5,6,7,8,9,10,11")


def test_strangers_of_other_depths_are_strangers() -> None:
    assert decide_by_layers(subject("child", network(6, 3)), [subject("a", PARENT), subject("b", STRANGER)]) is None


def test_of_two_related_models_the_nearer_one_is_named() -> None:
    tuned = {
        name: (v + 0.3 * np.random.default_rng(7).normal(size=v.shape)).astype(np.float32) for name, v in PARENT.items()
    }
    child = subject("child", made_of([(tuned, i) for i in range(0, 12, 2)], 0.1))
    found = decide_by_layers(child, [subject("base", PARENT), subject("tuned", tuned)])
    assert found is not None and found.parent == "tuned" and found.answer is AnswerKind.PARENT


def test_the_map_agrees_with_a_plain_search_for_the_most_alike() -> None:
    child = made_of([(PARENT, i) for i in (1, 4, 4, 9, 2)], 0.5)
    found = layer_map(blocks_of(sketch_of(child)), blocks_of(sketch_of(PARENT)))
    plain = []
    for i in range(5):
        cosines = []
        for j in range(12):
            x = np.concatenate([child[f"layers.{i}.{n}"].ravel() for n in ("attn.weight", "mlp.weight")]).astype(float)
            y = np.concatenate([PARENT[f"layers.{j}.{n}"].ravel() for n in ("attn.weight", "mlp.weight")]).astype(float)
            cosines.append(x @ y / np.sqrt((x @ x) * (y @ y)))
        plain.append(int(np.argmax(cosines)))
    assert list(found.to) == plain == [1, 4, 4, 9, 2]


def test_values_that_every_block_begins_with_tell_no_block_from_another() -> None:
    """The matrix A of a state space model is 1, 2, 3, … in every block."""
    same = {f"layers.{i}.mixer.A_log": np.tile(np.arange(1.0, 97.0, dtype=np.float32), (WIDE, 1)) for i in range(12)}
    child = made_of([(PARENT | same, i) for i in (0, 6, 11)], 0.1)
    found = layer_map(blocks_of(sketch_of(child)), blocks_of(sketch_of(PARENT | same)))
    assert found.to == (0, 6, 11)
    strange = layer_map(blocks_of(sketch_of(child)), blocks_of(sketch_of(STRANGER | same)))
    assert strange.to == (None, None, None)


def test_of_two_models_with_the_same_layers_the_one_is_named_of_which_nothing_is_missing() -> None:
    """A model that grew by layers which the child does not have is no nearer than the one that it grew from."""
    more = made_of([*((PARENT, i) for i in range(12)), (STRANGER, 3), (STRANGER, 4)])
    child = subject("child", made_of([(PARENT, i) for i in (0, 1, 2, 10, 11)]))
    found = decide_by_layers(child, [subject("grown", more), subject("base", PARENT)])
    assert found is not None and (found.parent, found.probability > 0.8) == ("base", True)


@pytest.mark.parametrize("far_noise", [0.2, 0.6])
def test_dates_that_speak_against_the_parent_make_it_no_surer(far_noise: float) -> None:
    """Two models of one that is not at hand, one with half of its layers, as published sentence encoders are."""
    rng = np.random.default_rng(7)
    far = {n: (v + far_noise * rng.normal(size=v.shape)).astype(np.float32) for n, v in PARENT.items()}
    child = subject("child", made_of([(PARENT, i) for i in range(0, 12, 2)], 0.6 - far_noise))

    def decided(child_day: int, far_day: int) -> dict[str, Decision]:
        dated = [
            replace(one, created_at=datetime(2024, 1, day, tzinfo=UTC))
            for one, day in ((child, child_day), (subject("far", far), far_day))
        ]
        return {d.model: d for d in decide_groups(dated, decide, Options().threshold)}

    favoured, against = decided(2, 1), decided(1, 2)
    # so far apart growth says that the child came first
    assert favoured["child"].parent == ("far" if far_noise < 0.5 else None)
    assert favoured["child"].probability > 0.7 and favoured["child"].probability > against["child"].probability
    assert against["child"].answer is AnswerKind.UNDECIDED
    assert "whether it was made of them is not certain" in against["child"].reason.text({}.get)
    assert against["far"].answer is AnswerKind.UNDECIDED
