"""One pair explained: its numbers are those of the decision."""

import numpy as np
import pytest

from lineage.detect.arrays import torch
from lineage.detect.explain import explain
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from tests.builders import sketch_of, three_generations


def test_the_distance_is_that_of_the_decision_also_beside_long_vectors_that_did_not_move():
    models, _ = three_generations()
    subjects = {
        name: Subject(name, sketch_of(values | {"norm.weight": np.full(4096, 3.0, np.float32)}, name))
        for name, values in models.items()
    }
    found = explain(
        subjects["b"], subjects["a"], [subjects[n] for n in ("c", "d", "ba")], Options(), torch.device("cpu")
    )
    assert found.decision.parent == "a"
    assert found.relative_distance == pytest.approx(found.decision.evidence["relative_distance"], abs=1e-6)
