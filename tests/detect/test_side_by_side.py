"""Pieces of work side by side: the same numbers in the same order, and the number of threads stays what it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lineage.detect.align import Layer, Part
from lineage.detect.computing import use_threads
from lineage.detect.detector.tokens import tokens
from lineage.detect.side_by_side import is_beside_others, side_by_side
from lineage.detect.signals.pairs import pair_evidence
from lineage.detect.signals.shared_start import structure_kept


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_keep_the_order_of_the_pieces_and_two_are_worked_on_at_once() -> None:
    together = threading.Barrier(2, timeout=20)

    def work(piece: int) -> tuple[int, int]:
        together.wait()
        return piece, torch.get_num_threads()

    assert side_by_side(work, [3, 1, 2, 0]) == [(3, 1), (1, 1), (2, 1), (0, 1)]
    assert torch.get_num_threads() == 2


def test_on_an_accelerator_and_of_one_piece_nothing_is_split() -> None:
    here = threading.get_ident()
    assert side_by_side(lambda _: threading.get_ident(), [1, 2], "cuda") == [here, here]
    assert side_by_side(lambda _: threading.get_ident(), [1]) == [here]


def test_what_a_piece_raises_is_raised_and_threads_stay() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda piece: 1 // piece, [1, 0, 2])
    assert torch.get_num_threads() == 2


def test_a_family_measured_by_two_threads_is_what_one_measures() -> None:
    layers = [
        Layer(f"layers.{i}.weight", i / 3, Part.BODY, 20 * 32, torch.randn(9, 20, 32).cumsum(0)) for i in range(4)
    ]
    pairs = torch.triu_indices(9, 9, 1).T

    def everything() -> list[torch.Tensor]:
        said, of_network = pair_evidence(layers, pairs, pairs[:6]), tokens(layers, pairs)
        return [said.growth_z, said.direction, said.decay, of_network.odd, of_network.even, structure_kept(layers)]

    by_two = everything()
    torch.set_num_threads(1)
    assert all(torch.equal(one, two) for one, two in zip(everything(), by_two, strict=True))


def test_a_piece_of_several_gets_no_more_threads_and_those_not_begun_are_given_up_after_an_error() -> None:
    begun: list[int] = []
    failed = threading.Event()

    def work(piece: int) -> int:
        begun.append(piece)
        assert is_beside_others() and use_threads(1 << 60).startswith("1 thread") and torch.get_num_threads() == 1
        if piece == 1:
            failed.set()
            raise ZeroDivisionError
        assert failed.wait(20)
        time.sleep(0.05)
        return piece

    with pytest.raises(ZeroDivisionError):
        side_by_side(work, range(200))
    assert len(begun) < 100 and not is_beside_others()
