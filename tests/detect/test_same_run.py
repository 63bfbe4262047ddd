"""Files of one training, against models that were tuned another way, and what of it decisions say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lineage.detect.align import Layer, Part
from lineage.detect.annotations import SAME_RUN_SHOWN_FROM, with_runs, with_siblings
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.reasons import Reason
from lineage.detect.report import Scan, as_json, as_tree
from lineage.detect.signals.same_run import FARTHEST, features, same_run

UNITS, WIDTH = 24, 40
SCALES = {"body.0": 1.0, "body.1": 0.3, "body.2": 2.0}  # how far a run moves each layer


def chain(*moves):
    """Layers of a start and of one model more for each of `moves`: name of a layer -> how far its units move, (u,) or a number."""
    dice = np.random.default_rng(4)
    models = [{name: dice.normal(size=(UNITS, WIDTH)) for name in SCALES}]
    for move in moves:
        step = {name: dice.normal(size=(UNITS, WIDTH)) * np.reshape(move[name], (-1, 1)) for name in SCALES}
        models.append({name: models[-1][name] + step[name] for name in SCALES})
    stacked = {name: torch.tensor(np.stack([m[name] for m in models])).float() for name in SCALES}
    return [Layer(name, i / 2, Part.BODY, UNITS * WIDTH, values) for i, (name, values) in enumerate(stacked.items())]


def unequal(seed):
    return np.exp(np.random.default_rng(seed).normal(size=UNITS))


RUN = {name: 0.1 * scale * unequal(i) for i, (name, scale) in enumerate(SCALES.items())}
OTHER = {name: 0.1 * (2.5 - scale) * unequal(9 + i) for i, (name, scale) in enumerate(SCALES.items())}
FROZEN = RUN | {"body.0": 0.0}
LINE = torch.tensor([[0, 1, 2]])


def test_a_run_that_goes_on_is_told_from_another_tuning_and_from_a_frozen_part():
    going_on, other, frozen = (float(same_run(chain(RUN, then), LINE)[0]) for then in (RUN, OTHER, FROZEN))
    assert going_on > 0.6 > 0.2 > other
    assert other < frozen < going_on


def test_features_are_those_of_the_obvious_reference():
    layers = chain(RUN, OTHER)
    first, second = (
        [np.square(np.diff(la.values.double().numpy(), axis=0)[k]).sum(1) for la in layers] for k in (0, 1)
    )
    ratio = np.array([np.log(b.sum() / a.sum()) / 2 for a, b in zip(first, second, strict=True)])
    alike = np.median([np.corrcoef(np.log(a), np.log(b))[0, 1] for a, b in zip(first, second, strict=True)])
    wanted = [np.log(ratio.std() + 0.02), alike, abs(ratio.mean()), 1.0]
    assert features(layers, LINE)[0].tolist() == pytest.approx(wanted, abs=1e-6)


def test_the_distance_counts_up_to_a_bound_and_where_nothing_moved_there_is_no_run():
    far = dict.fromkeys(SCALES, 1000000.0)
    assert float(features(chain(RUN, far), LINE)[0, 2]) == FARTHEST
    still = dict.fromkeys(SCALES, 0.0)
    assert same_run(chain(RUN, still), LINE).tolist() == [0.0]
    assert same_run(chain(RUN), torch.zeros(0, 3, dtype=torch.int64)).tolist() == []


def parent(model, above):
    return Decision(model, AnswerKind.PARENT, 0.9, parent=above)


ROOT = Decision("a", AnswerKind.ROOT, 0.95)


def test_edges_in_line_say_whether_they_are_of_one_run_and_others_say_that_they_cannot_tell():
    told = with_runs([ROOT, parent("b", "a"), parent("c", "b"), parent("d", "c")], chain(RUN, RUN, OTHER))
    said = {d.model: d.evidence.get("same_run") for d in told}
    assert said["b"] == said["c"] > 0.6 > 0.2 > said["d"]  # b has no grandparent: its child c tells
    assert ["one training run" in str(d.reason) for d in told] == [
        False,
        said["b"] >= SAME_RUN_SHOWN_FROM,
        said["c"] >= SAME_RUN_SHOWN_FROM,
        False,
    ]
    assert "same_run" not in told[0].evidence
    alone = with_runs([ROOT, parent("b", "a")], chain(RUN))
    assert alone[1].evidence["same_run"] is None
    assert with_runs([ROOT, parent("b", "elsewhere")], chain(RUN))[1].evidence == {}


def test_a_root_and_its_undecided_children_may_be_siblings_and_json_and_text_say_so_once():
    unsure = [Decision(name, AnswerKind.UNDECIDED, 0.5, reason=Reason("alone")) for name in "bc"]
    decisions = [ROOT, *unsure, parent("d", "a"), Decision("e", AnswerKind.UNDECIDED, 0.5)]
    told = with_siblings(decisions, 0, torch.tensor([-1, 0, 0, 0, 1]), torch.full((5,), 0.3))
    assert [d.siblings for d in told] == [("a", "b", "c")] * 3 + [(), ()]
    scan = Scan([], told, {})
    assert as_json(scan)["siblings"] == [{"models": ["a", "b", "c"], "probability": 0.3}]
    line = "a, b and c may all come from one model that is not here (probability 0.30)"
    assert as_tree(scan).count(line) == 1


def test_without_more_than_the_prior_or_with_nobody_undecided_there_are_no_siblings():
    unsure = Decision("b", AnswerKind.UNDECIDED, 0.5)
    star, unlikely, likely = torch.tensor([-1, 0]), torch.tensor([0.0, 0.1]), torch.tensor([0.0, 0.4])
    assert with_siblings([ROOT, unsure], 0, star, unlikely) == [ROOT, unsure]
    assert with_siblings([ROOT, parent("b", "a")], 0, star, likely) == [ROOT, parent("b", "a")]
    named = replace(ROOT, answer=AnswerKind.PARENT, parent="x")
    assert with_siblings([named, unsure], 0, star, likely) == [named, unsure]
