"""A model that is some layers of a deeper one bit for bit comes from that one, whatever else is near, and came before its own children."""

from __future__ import annotations

import numpy as np
import pytest

from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.group_decisions import decide_about, decide_groups
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.taken_layers import taken_from
from tests.detect.test_layer_map import PARENT, WIDE, made_of, subject

KEPT = (0, 1, 3, 4, 6, 8, 10, 11)
Tensors = dict[str, np.ndarray]


def moved(tensors: Tensors, noise: float, seed: int) -> Tensors:
    """Trained on, some units more than others."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, values in tensors.items():
        unit = rng.lognormal(size=(len(values), *(1,) * (values.ndim - 1)))
        found[name] = (values + noise * unit * rng.normal(size=values.shape)).astype(np.float32)
    return found


CHAT = moved(PARENT, 0.1, 1)
CUT = made_of([(CHAT, i) for i in KEPT])


def decided(models: dict[str, Tensors]) -> dict[str, Decision]:
    options = Options()
    subjects = [subject(name, tensors) for name, tensors in models.items()]
    return {d.model: d for d in decide_groups(subjects, lambda some: decide(some, options), options.threshold)}


@pytest.mark.slow
def test_a_model_whose_every_value_is_another_ones_comes_from_it_and_not_from_a_relative_of_it() -> None:
    models = {"base": PARENT, "chat": CHAT, "chat-md": moved(CHAT, 0.03, 2), "code": moved(PARENT, 0.1, 3), "cut": CUT}
    found = decided(models)["cut"]
    assert (found.answer, found.parent) == (AnswerKind.PARENT, "chat")
    assert found.evidence["layers"] == ",".join(map(str, KEPT))
    subjects = [subject(name, tensors) for name, tensors in models.items()]
    about = decide_about(subjects[-1], subjects[:-1], lambda some: decide(some, Options()), Options().threshold)
    assert about.parent == "chat"


@pytest.mark.slow
def test_what_was_trained_on_from_the_layers_of_another_comes_from_these() -> None:
    found = decided({"base": PARENT, "chat": CHAT, "cut": CUT, "healed": moved(CUT, 0.05, 4)})
    assert (found["cut"].parent, found["healed"].likeliest) == ("chat", "cut")
    assert found["healed"].probability > 0.6


def test_of_two_models_with_all_of_its_values_none_is_chosen() -> None:
    """The other one was trained with these layers frozen: either of them may have been cut."""
    frozen = {n: v if not n.startswith("layers.5.") else v + np.float32(0.1) for n, v in CHAT.items()}
    found = decided({"base": PARENT, "chat": CHAT, "chat-five": frozen, "cut": CUT})["cut"]
    assert found.answer is AnswerKind.UNDECIDED and found.named == {"chat", "chat-five"}


def test_layers_that_were_rounded_are_the_same_and_those_that_were_trained_are_not() -> None:
    half = {n: v.astype(np.float16) for n, v in CUT.items()}
    chat = subject("chat", CHAT)
    assert taken_from(subject("cut", half), chat) is not None
    trained = CUT | {"layers.2.mlp.weight": CUT["layers.2.mlp.weight"] + np.float32(1e-4) * np.ones((1, WIDE), "f4")}
    assert taken_from(subject("cut", trained), chat) is None
    assert taken_from(chat, subject("cut", CUT)) is None
