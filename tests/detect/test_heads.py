"""Which of two models came first by the heads that they have."""

from types import SimpleNamespace

import pytest

from bench.architectures import read
from lineage.detect.arrays import torch
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.signals.heads import LOG_ODDS, STEP_LOG_ODDS, Head, HeadsSignal, head_of
from lineage.detect.signature import tensors_of
from tests.builders import sketch_of, start, tune

BODY = {
    "embeddings.word_embeddings.weight": (120, 48),
    **{f"encoder.layer.{i}.dense.weight": (48, 48) for i in range(4)},
}
PRETRAINED = {"cls.predictions.bias": (120,), "cls.predictions.transform.dense.weight": (48, 48)}
TASK = {"classifier.weight": (3, 48), "classifier.bias": (3,)}


@pytest.fixture(scope="module")
def library():
    return read()


@pytest.mark.slow  # reads the headers of all of the library's models
@pytest.mark.parametrize(
    ("model_type", "model_class", "head"),
    [
        ("bert", "BertForMaskedLM", Head.PRETRAINING),
        ("bert", "BertModel", Head.NONE),
        ("bert", "BertForTokenClassification", Head.TASK),
        ("roberta", "RobertaForSequenceClassification", Head.TASK),
        ("llama", "LlamaForCausalLM", Head.PRETRAINING),
        ("llama", "LlamaForSequenceClassification", Head.TASK),
        ("gpt2", "GPT2LMHeadModel", Head.NONE),
        ("esm", "EsmForMaskedLM", Head.PRETRAINING),
        ("esm", "EsmForTokenClassification", Head.TASK),
        ("wav2vec2", "Wav2Vec2ForPreTraining", Head.PRETRAINING),
        ("wav2vec2", "Wav2Vec2ForCTC", Head.TASK),
        ("vit_mae", "ViTMAEForPreTraining", Head.PRETRAINING),
        ("vit", "ViTForImageClassification", Head.TASK),
        ("vit", "ViTModel", None),
        ("layoutlm", "LayoutLMForTokenClassification", Head.TASK),
    ],
)
def test_the_head_of_what_the_library_makes(library, model_type, model_class, head):
    layout = {t.name: t.shape for t in tensors_of(library[model_type][model_class])}
    assert head_of(layout) is head


def test_pretraining_before_none_before_a_task():
    shapes = {"pretrained": BODY | PRETRAINED, "bare": BODY, "task": BODY | TASK}
    models = [Subject(name, sketch_of(start(1, layout), name)) for name, layout in shapes.items()]
    odds = HeadsSignal().measure(SimpleNamespace(models=models))
    assert torch.equal(odds, -odds.T)
    assert odds[2].tolist() == [LOG_ODDS, STEP_LOG_ODDS, 0] and float(odds[1, 0]) == STEP_LOG_ODDS


def test_a_classifier_that_hardly_moved_is_not_the_parent_of_other_classifiers():
    base = start(1, BODY | PRETRAINED)
    body = {name: values for name, values in base.items() if name not in PRETRAINED}

    def classifier(seed, moved):
        return tune(body, seed, moved) | start(50 + seed, TASK)

    models = {"base": base, "near": classifier(1, 0.003)} | {f"m{i}": classifier(10 + i, 0.1) for i in range(6)}
    said = {d.model: d for d in decide([Subject(n, sketch_of(w, n)) for n, w in models.items()], Options())}
    assert {said[f"m{i}"].parent for i in range(6)} == {"base"} and "heads" in said["m0"].decided_by
