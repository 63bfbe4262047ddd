"""Whether one model was trained from another one, from what all signals say of the two."""

import pytest
import torch

from lineage.detect.ancestor import FEATURES, UNTOLD, log_odds

# a tuning for another task, which lost a quarter of what its parent had learned
LOSSY = {
    "low slope": 0.7, "nearer": 0.08, "kept": 0.55, "retention": 0.0, "lost": 0.24, "total slope": 0.95, "fell": 0.25, "rose": 0.24,
    "direction": 3.3, "certain": 0.0, "even": -1.2, "order": 0.99, "step": 11.0, "log of the number of models": 3.3,
}  # fmt: skip


def odds(**changed: float) -> float:
    at = {**LOSSY, **changed}
    return float(log_odds(torch.tensor([[at[name] for name in FEATURES]], dtype=torch.float64))[0])


def test_a_model_that_has_most_of_what_another_one_changed_is_perhaps_its_child():
    assert odds() == UNTOLD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("low slope", 0.4),
        ("lost", 0.5),
        ("kept", 0.4),
        ("order", 0.5),
        ("step", 100.0),
        ("nearer", -0.1),
        ("certain", -2.0),
    ],
)
def test_no_child_is_taken_for_possible_that_lacks_one_of_these(name: str, value: float):
    assert odds(**{name: value}) < UNTOLD - 1
