"""A smaller run of bench/mutate_headers.py."""

from __future__ import annotations

import pytest

from bench.mutate_headers import run, samples

SAMPLES = samples()


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_two_thousand_mutated_headers_give_the_right_answer_or_a_clear_failure(name: str) -> None:
    raw, header_bytes, parse = SAMPLES[name]
    count = run(raw, header_bytes, 2_000, parse, seed=7)
    assert (count.wrong, count.crashed) == (0, {})
    assert count.accepted + count.refused == 2_000 and count.refused > 1_000
    assert count.memory_over_file <= 2
