"""Which models meet: backbones of headers that the transformers library made, and of headers with dirt."""

from __future__ import annotations

import numpy as np
import pytest

from bench.architectures import Spec, count, read
from lineage.detect.backbone import backbones_of, group_signature
from lineage.detect.backbone_names import named_parts
from lineage.detect.signature import signature_of, tensors_of
from lineage.graphdb.schema import keys_in, share_key

pytestmark = pytest.mark.slow

APART = {  # a text-to-speech model whose language model is of another type, and one class that keeps other layers than its base
    ("cosmos3_omni", "Cosmos3OmniForConditionalGeneration"),
    ("gradium_phonon_tts", "GradiumPhononTTSForConditionalGeneration"),
}


def bert(prefix: str = "", layers: int = 4, vocabulary: int = 500, inner: str = "encoder.layer") -> list[Spec]:
    """A masked language model without its head."""
    wide = 64
    header = [
        Spec(f"{prefix}embeddings.word_embeddings.weight", "F32", (vocabulary, wide)),
        Spec(f"{prefix}embeddings.position_embeddings.weight", "F32", (32, wide)),
        Spec(f"{prefix}embeddings.LayerNorm.weight", "F32", (wide,)),
    ]
    for i in range(layers):
        for name, shape in {"query": (wide, wide), "up": (4 * wide, wide), "down": (wide, 4 * wide)}.items():
            header += [
                Spec(f"{prefix}{inner}.{i}.{name}.weight", "F32", shape),
                Spec(f"{prefix}{inner}.{i}.{name}.bias", "F32", shape[:1]),
            ]
        header.append(Spec(f"{prefix}{inner}.{i}.LayerNorm.weight", "F32", (wide,)))
    return header


def with_head(header: list[Spec], classes: int = 3) -> list[Spec]:
    return [*header, Spec("classifier.weight", "F32", (classes, 64)), Spec("classifier.bias", "F32", (classes,))]


def test_every_task_class_of_transformers_shares_its_backbone_with_the_base_class() -> None:
    found = count(read())
    assert set(found.apart) == APART
    assert found.tasks > 800 and found.types > 500


def test_heads_wrappers_vocabularies_depth_and_containers_do_not_part_models() -> None:
    base = group_signature(bert())
    same = [
        bert("bert."),
        bert("0.auto_model."),
        bert("_orig_mod.module.bert."),
        bert(vocabulary=501),
        bert(layers=2),
        bert(layers=1),
        with_head(bert("bert.")),
        with_head(bert("roberta."), 17),
        bert("model.", inner="h"),
    ]
    assert [group_signature(header) for header in same] == [base] * len(same)


def test_other_widths_are_other_backbones() -> None:
    wider = [Spec(s.name, s.dtype, tuple(2 * n for n in s.shape)) for s in bert()]
    assert not share_key(group_signature(bert()), group_signature(wider))


def test_a_language_model_within_a_multimodal_one_meets_the_language_model_alone() -> None:
    language = [Spec(s.name, s.dtype, s.shape) for s in bert("model.", inner="layers")]
    vision = [Spec(s.name, s.dtype, tuple(3 * n for n in s.shape)) for s in bert("vision_tower.vision_model.")]
    both = [Spec("language_model." + s.name, s.dtype, s.shape) for s in language] + vision
    keys = keys_in(group_signature(both))
    assert len(keys) == 2 and set(keys) == {group_signature(language), group_signature(vision)}
    parts = {b.part for b in backbones_of(both)}
    assert parts == {"language_model", "vision_tower.vision_model.encoder"}


def test_a_vision_tower_beside_a_mixture_of_experts_is_a_part_however_small_its_share() -> None:
    tower = [Spec(s.name, s.dtype, tuple(16 * n for n in s.shape)) for s in bert("vision_tower.", layers=6)]
    experts = [
        Spec(f"language_model.layers.{layer}.experts.{part}", "BF16", (128, *shape))
        for layer in range(8)
        for part, shape in {"gate_up": (4096, 1024), "down": (1024, 2048)}.items()
    ]
    assert {b.part for b in backbones_of([*tower, *experts])} == {"language_model", "vision_tower.encoder"}
    small = [Spec(s.name, s.dtype, tuple(n // 16 for n in s.shape)) for s in tower]
    assert {b.part for b in backbones_of([*small, *experts])} == {""}


def test_adapters_inside_do_not_part_models() -> None:
    adapted = [Spec(s.name.replace("query.", "query.base_layer."), s.dtype, s.shape) for s in bert()]
    adapted += [Spec(f"encoder.layer.{i}.query.lora_A.default.weight", "F32", (8, 64)) for i in range(4)]
    assert group_signature(adapted) == group_signature(bert())


def detector(classes: int) -> list[Spec]:
    """A list of unlike modules whose last one is the head, under the name of any other."""
    shapes = [(16, 3), (32, 16), (64, 32), (64, 64), (128, 64), (128, 128), (256, 128)]
    body = [Spec(f"model.{i}.conv.weight", "F32", (*shape, 3, 3)) for i, shape in enumerate(shapes)]
    return body + [Spec(f"model.7.m.{i}.weight", "F32", (3 * (5 + classes), 64 << i, 1, 1)) for i in range(3)]


def test_a_network_that_is_called_adapter_is_a_network() -> None:
    def header(channels: int) -> list[Spec]:
        shapes = {"conv_in": (40, channels, 3, 3), "body.0.conv": (80, 40, 3, 3), "body.1.conv": (160, 80, 3, 3)}
        return [Spec(f"adapter.{name}.weight", "F32", shape) for name, shape in shapes.items()]

    assert backbones_of(header(192)) and group_signature(header(192)) == group_signature(header(448))


def test_detectors_of_other_classes_meet_though_no_head_has_a_heads_name() -> None:
    assert len({group_signature(detector(classes)) for classes in (1, 3, 11, 20, 80, 365)}) == 1


def test_a_list_of_modules_is_one_list_with_and_without_a_wrapper_though_a_module_has_lists_of_its_own() -> None:
    module = {"cv1.weight": (32, 16, 3, 3), "m.0.m.0.weight": (24, 24, 3, 3), "m.0.m.1.weight": (24, 24, 3, 3)}
    modules = [(f"{i}.{name}", shape) for i in range(7) for name, shape in module.items()]
    keys = {group_signature([Spec(p + n, "F32", s) for n, s in modules]) for p in ("", "model.", "model.model.")}
    assert len(keys) == 1
    names = {tuple(part.names.values()) for part in named_parts(tuple((n, "F32", s) for n, s in modules))}
    assert names == {tuple(f"layers.{name}" for name, _ in modules)}


@pytest.mark.parametrize("head", ["fc.1", "fc.0", "last_linear.2"])
def test_a_head_of_several_layers_does_not_part_networks_without_repeated_blocks(head: str) -> None:
    kernels = {"conv1": (16, 3, 7, 7), "layer1.0.conv1": (16, 16, 3, 3), "layer2.0.conv1": (32, 16, 3, 3)}
    body = [Spec(f"{name}.weight", "F32", shape) for name, shape in kernels.items()]
    with_fc = [*body, Spec("fc.weight", "F32", (10, 32))]
    assert group_signature([*body, Spec(f"{head}.weight", "F32", (4, 32))]) == group_signature(with_fc)


def test_stages_of_one_block_each_are_no_model_with_a_single_block() -> None:
    def stage(at: str, wide: int) -> list[Spec]:
        kernels = {"conv1": (wide, wide // 2, 3, 3), "conv2": (wide, wide, 3, 3), "down.0": (wide, wide // 2, 1, 1)}
        return [Spec(f"{at}.0.{name}.weight", "F32", shape) for name, shape in kernels.items()]

    stages = [spec for i in range(4) for spec in stage(f"layer{i + 1}", 16 << i)]
    (backbone,) = backbones_of(stages)
    assert not backbone.containers and len(backbone.matrices) == 12
    assert backbones_of(stage("encoder.layers", 16))[0].containers == ("encoder.layers",)


def test_classes_and_input_channels_do_not_part_small_networks() -> None:
    def network(channels: int, classes: int, wide: int = 24) -> list[Spec]:
        return [
            Spec("conv1.weight", "F32", (wide, channels, 3, 3)),
            Spec("conv2.weight", "F32", (2 * wide, wide, 3, 3)),
            Spec("fc1.weight", "F32", (64, 2 * wide * 9)),
            Spec("fc2.weight", "F32", (classes, 64)),
        ]

    assert group_signature(network(1, 10)) == group_signature(network(3, 47))
    assert group_signature(network(1, 10)) != group_signature(network(1, 10, wide=32))


def test_a_wrapper_and_heads_do_not_part_networks_without_repeated_blocks() -> None:
    shapes = {
        "encoder.stages.0.a.weight": (32, 16),
        "encoder.stages.1.b.weight": (64, 32),
        "embedder.patch.weight": (16, 12),
    }
    base = [Spec(name, "F32", shape) for name, shape in shapes.items()]
    inside = [Spec(f"net.{name}", "F32", shape) for name, shape in shapes.items()]
    heads = [Spec("classifier.linear.weight", "F32", (2, 64)), Spec("classifier_distill.linear.weight", "F32", (2, 64))]
    assert group_signature(base) == group_signature(inside) == group_signature([*inside, *heads])
    (own,), (wrapped,) = (
        named_parts(tuple((s.name, s.dtype, s.shape) for s in header)) for header in (base, [*inside, *heads])
    )
    assert {own.names[name] for name in shapes} == {wrapped.names[f"net.{name}"] for name in shapes}


@pytest.mark.parametrize("prefix", ["", "bert.", "0.auto_model."])
def test_tensors_have_the_same_names_within_the_backbone_whatever_surrounds_it(prefix: str) -> None:
    header = with_head(bert(prefix))
    (named,) = named_parts(tuple((s.name, s.dtype, s.shape) for s in header))
    assert named.depth == (4,)
    inside = set(named.names.values())
    assert {"layers.3.query.weight", "embeddings.word_embeddings.weight", "embeddings.LayerNorm.weight"} <= inside
    assert len(inside) == len(header)
    assert named.places[f"{prefix}encoder.layer.2.up.weight"].block == 2


def test_random_headers_have_one_signature_each_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    pieces = ["model", "0", "1", "17", "encoder", "layers", "weight", "bias", "", "module", "a" * 50, "*", "é"]
    for _ in range(300):
        header = [
            Spec(
                ".".join(rng.choice(pieces, rng.integers(1, 6))),
                str(rng.choice(["F32", "BF16", "I64", "F4"])),
                tuple(int(n) for n in rng.integers(0, 40, rng.integers(0, 5))),
            )
            for _ in range(rng.integers(0, 30))
        ]
        header = list({spec.name: spec for spec in header}.values())
        assert group_signature(header) == group_signature(header[::-1])
        named_parts(tuple((s.name, s.dtype, s.shape) for s in header))


@pytest.mark.parametrize("number", ["²", "٣", "9" * 5000, "0" * 5000])
def test_numbers_that_are_none_or_too_long_are_names_like_any_other(number: str) -> None:
    header = [Spec(f"{number}.{i}.w{j}", "F32", (8, 8)) for i in range(9) for j in range(3)]
    header += [Spec(f"{i}.{number}.w{j}", "F32", (8, 8)) for i in range(9) for j in range(3)]
    assert group_signature(header) and signature_of(header)
    assert named_parts(tuple((s.name, s.dtype, s.shape) for s in header))


@pytest.mark.parametrize("spelled", ["encoder.layers.encoder_layer_{}", "Transformer.encoderblock_{}", "layers_{}"])
def test_blocks_with_their_number_behind_an_underline_are_blocks(spelled: str) -> None:
    def header(layers: int, classes: int) -> list[Spec]:
        return [
            Spec(s.name.replace("encoder.layer.", spelled.format("")), s.dtype, s.shape)
            for s in with_head(bert(layers=layers), classes)
        ]

    assert group_signature(header(4, 3)) == group_signature(header(2, 1000))
    (part,) = named_parts(tuple((s.name, s.dtype, s.shape) for s in header(4, 3)))
    assert part.depth == (4,)


def test_two_spellings_of_a_weight_norm_and_of_kernels_are_one_name() -> None:
    def header(*leaves: str) -> list[Spec]:
        shapes = dict(zip(leaves, [(8, 1, 1), (8, 8, 3)], strict=True))
        return [Spec(f"net.{i}.conv.{leaf}", "F32", shape) for i in range(4) for leaf, shape in shapes.items()]

    new, old = (
        header("parametrizations.weight.original0", "parametrizations.weight.original1"),
        header("weight_g", "weight_v"),
    )
    assert group_signature(new) == group_signature(old)
    keras = [Spec("block1_conv1/kernel:0", "F32", (3, 3, 8, 16)), Spec("block1_conv2/kernel:0", "F32", (3, 3, 16, 16))]
    dots = [Spec("block1_conv1.kernel", "F32", (3, 3, 8, 16)), Spec("block1_conv2.kernel", "F32", (3, 3, 16, 16))]
    assert group_signature(keras) == group_signature(dots)
    assert [t.output_first for t in tensors_of(keras)] == [False, False]
