import pytest
import torch

from lineage.detect.align import pick_device
from lineage.detect.model_input import Subject
from lineage.detect.pipeline import decide
from tests.builders import sketch_of, three_generations


def test_the_device_asked_for_is_taken_and_the_cpu_where_there_is_no_other():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_and_cpu_decide_the_same():
    models, _ = three_generations()
    subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
    here, there = (decide(subjects, device=torch.device(name)) for name in ("cpu", "cuda"))
    assert [(d.answer, d.parent) for d in here] == [(d.answer, d.parent) for d in there]
    assert [d.probability for d in here] == pytest.approx([d.probability for d in there], abs=1e-4)
    for one, other in zip(here, there, strict=True):
        for name in ("growth_z", "growth_gamma", "related", "relative_distance"):
            if name in one.evidence:
                assert one.evidence[name] == pytest.approx(other.evidence[name], rel=1e-3, abs=1e-3)
