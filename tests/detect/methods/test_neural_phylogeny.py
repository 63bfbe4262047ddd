"""Neural Phylogeny without learning, against formulas written out."""

from __future__ import annotations

import pytest
import torch

from lineage.detect.methods.np_along import kmeans_along, meanshift_along
from lineage.detect.methods.np_identify import FakeStart, identify
from lineage.detect.methods.registry import BadSetting
from lineage.detect.methods.to_decisions import CannotTake
from lineage.detect.methods.values import coordinates, distances, layers_of, some_values
from tests.detect.methods.models import CPU, SMALL, asked, parents, subjects_of, two_families


def fake(kind: str = "uniform", draws: int = 50, seed: int = 0) -> FakeStart:
    return FakeStart(kind, draws, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_the_parent_is_nearest_to_most_of_the_random_starts(kind: str) -> None:
    values = torch.randn(6, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 1e-2
    members = [0, 2, 3, 5]
    starts = fake(kind).draw(50, 40)
    votes = dict.fromkeys(members, 0)
    for z in starts:
        votes[min(members, key=lambda i: float((values[i] - z).norm()))] += 1
    best = max(votes.values())
    found = identify(values, members, fake(kind))
    assert votes[found.parent] == best and found.share == best / 50


def test_random_starts_have_the_spread_of_the_code() -> None:
    uniform, normal = fake("uniform").draw(400, 100), fake("normal").draw(400, 100)
    assert float(uniform.abs().max()) <= 1 / 100
    assert float(normal.std()) == pytest.approx(1 / 100, rel=0.02)


@pytest.mark.slow
def test_coordinates_keep_all_distances() -> None:
    values = torch.randn(7, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    apart = torch.tensor([[float((a - b).norm()) for b in values] for a in values], dtype=torch.float64)
    assert coordinates(values).shape[1] <= 7
    torch.testing.assert_close(distances(values), apart)
    torch.testing.assert_close(distances(coordinates(values)), apart, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_along_with_one_kind_of_update_is_written_out(alpha: float) -> None:
    models, _ = two_families()
    values = some_values("np-kmeans", layers_of("np-kmeans", subjects_of(models), CPU))
    found = kmeans_along(values, coordinates(values), torch.tensor([1, 6]), alpha, fake())
    cluster = torch.cdist(values, values[[1, 6]]).argmin(1)
    for _ in range(20):  # Lloyd, one cluster after the other
        centres = []
        for k in (0, 1):
            own = (cluster == k).nonzero().flatten().tolist()
            by_norm = min(own, key=lambda i: float(values[i].norm()))
            centres.append(values[own].mean(0) if alpha else values[by_norm])
        cluster = torch.stack([((values - c) ** 2).sum(1) for c in centres], 1).argmin(1)
    assert found.cluster.tolist() == cluster.tolist()
    own = (cluster == 0).nonzero().flatten().tolist()
    middle = values[own].mean(0)
    expected = min(own, key=lambda i: float((values[i] - middle).norm() if alpha else values[i].norm()))
    assert found.parent[0] == expected


def test_along_meanshift_takes_the_smallest_within_the_bandwidth() -> None:
    values = torch.tensor([[1.0, 0], [1.2, 0], [1.3, 0], [9, 0], [9.5, 0]], dtype=torch.float64)
    found = meanshift_along(values, values, 1.0, 0.0, fake(draws=101))
    assert [found.parent[k] for k in found.cluster.tolist()] == [0, 0, 0, 3, 3]


@pytest.mark.parametrize(
    "name, settings",
    [
        ("np-kmeans", {"clusters": "2"}),
        ("np-kmeans", {}),
        ("np-kmeans", {"clusters": "2", "alpha": "0"}),
        ("np-kmeans", {"clusters": "2", "start": "normal", "draws": "1", "tensor": "all"}),
        ("np-meanshift", {"bandwidth": "4"}),
        ("np-meanshift", {"bandwidth": "4", "alpha": "0"}),
        ("np-dbscan", {"eps": "4", "neighbours": "2"}),
        ("np-gmm", {"clusters": "2"}),
    ],
)
def test_children_that_grew_are_put_under_their_parents(name: str, settings: dict[str, str]) -> None:
    models, truth = two_families()
    decisions = asked(name, subjects_of(models), **{"tensor": "all", **settings})
    assert parents(decisions) == truth
    assert all(0 <= d.probability <= 1 for d in decisions)


def test_dbscan_leaves_what_is_far_from_all_without_parent() -> None:
    models, _ = two_families()
    found = parents(asked("np-dbscan", subjects_of(models), eps="1e-6"))
    assert set(found.values()) == {None}


def test_the_norm_rule_is_turned_by_decay() -> None:
    from tests.builders import start, tune

    models = {"a": start(0, SMALL)} | {f"a{k}": tune(start(0, SMALL), k + 1, 0.1, decay=0.1) for k in range(3)}
    found = parents(asked("np-kmeans", subjects_of(models), clusters="1"))
    assert found["a"] is not None


@pytest.mark.parametrize(
    "name, settings",
    [
        ("np-kmeans", {"alpha": "1.5"}),
        ("np-kmeans", {"clusters": "99"}),
        ("np-kmeans", {"draws": "0"}),
        ("np-kmeans", {"clusters": "2", "alpha": "0", "norm_at_most": "1e-9"}),
        ("np-dbscan", {"eps": "0"}),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, str]) -> None:
    with pytest.raises(BadSetting):
        asked(name, subjects_of(two_families()[0]), **settings)


def test_a_tensor_that_no_model_has_is_named() -> None:
    with pytest.raises(CannotTake, match="no tensor 'fc9'"):
        asked("np-gmm", subjects_of(two_families()[0]), tensor="fc9")


def test_two_models_are_enough_and_may_be_equal() -> None:
    models, _ = two_families(1)
    same = {"one": models["a"], "two": {k: v.copy() for k, v in models["a"].items()}}
    for name in ("np-kmeans", "np-meanshift", "np-dbscan", "np-gmm"):
        assert len(asked(name, subjects_of(same))) == 2
