"""Tables that strangers took from the same place are no kinship; frozen layers of relatives are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.group_decisions import decide_groups
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from tests.builders import sketch_of

Tensors = dict[str, np.ndarray]


def spectrogram(bins: int = 129, length: int = 256) -> np.ndarray:
    """The windowed sines and cosines that a voice detector keeps as a convolution."""
    angle = 2 * np.pi * np.arange(bins)[:, None] * np.arange(length)[None] / length
    window = np.hanning(length)
    return np.concatenate([np.cos(angle) * window, -np.sin(angle) * window])[:, None].astype(np.float32)


def detector(seed: int) -> Tensors:
    rng = np.random.default_rng(seed)
    shapes = {
        "encoder.0.weight": (64, 129, 3),
        "encoder.1.weight": (64, 64, 3),
        "lstm.weight_ih": (256, 64),
        "lstm.weight_hh": (256, 64),
        "decoder.weight": (1, 64),
    }
    return {"stft.basis_buffer": spectrogram()} | {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def plain(some: Sequence[Subject]) -> list[Decision]:
    return decide(some, Options(detector=False), torch.device("cpu"))


def test_three_voice_detectors_with_one_table_of_sines_are_strangers() -> None:
    said = decide_groups([Subject(f"d{i}", sketch_of(detector(i))) for i in range(3)], plain, 0.8)
    assert [d.answer for d in said] == [AnswerKind.NO_RELATIVES] * 3 and not any(d.candidates for d in said)


def test_a_child_of_a_voice_detector_is_linked_to_it_beside_strangers_with_the_same_table() -> None:
    rng = np.random.default_rng(7)
    base = detector(0)
    child = {
        n: v
        if "stft" in n
        else v + 0.2 * rng.lognormal(0, 0.7, (len(v), *[1] * (v.ndim - 1))) * rng.normal(size=v.shape)
        for n, v in base.items()
    }
    child = {n: v.astype(np.float32) for n, v in child.items()}
    models = {"base": base, "child": child, "other": detector(1), "another": detector(2)}
    said = {d.model: d for d in decide_groups([Subject(n, sketch_of(t)) for n, t in models.items()], plain, 0.8)}
    assert "base" in {said["child"].parent, *(c.parent for c in said["child"].candidates)} or "child" in {
        c.parent for c in said["base"].candidates
    }
    assert {said["other"].answer, said["another"].answer} == {AnswerKind.NO_RELATIVES}


def test_layers_that_were_frozen_are_kinship_even_where_the_rest_was_made_anew() -> None:
    base, other = detector(0), detector(1)
    child = {n: base[n] if n.startswith(("stft", "encoder", "lstm")) else other[n] for n in base}
    said = decide_groups([Subject("base", sketch_of(base)), Subject("child", sketch_of(child))], plain, 0.8)
    assert AnswerKind.NO_RELATIVES not in {d.answer for d in said}
