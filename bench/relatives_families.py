"""Families made by the libraries that people publish with: a base, and children as each library stores them.

Each function writes models under a folder and yields what is true of them. Needs transformers, timm, diffusers.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.relatives_converters import as_transformers_vit, fused, internlm2, original_llama, upcycled
from bench.relatives_training import Inputs, Recipe, arrays, both, text, train

BASE, CHILD = Recipe(250, 2e-3, 1), Recipe(60, 5e-4, 2)
VOCABULARY = 300
Made = Iterator["Relative"]


@dataclass(frozen=True, slots=True)
class Relative:
    """A model on disk. parent: its name, None for a base; kind: what lies between the two; layers: the layer map, where there is one."""

    name: str
    parent: str | None
    kind: str
    layers: str | None = None


def tuned(network: Any, inputs: Inputs, seed: int, positional: bool = False) -> Any:
    return train(network, inputs, Recipe(CHILD.steps, CHILD.rate, 100 + seed), positional)


def siblings(
    base: Any, inputs: Inputs, folder: Path, name: str, count: int, save: Callable[[Any, Path], None] | None = None
) -> Made:
    """Further children of a base, tuned as they are."""
    for number in range(count):
        child = tuned(copy.deepcopy(base), inputs, 50 + number)
        where = folder / f"{name}-tuned-{number}"
        save(child, where) if save else child.save_pretrained(where)
        yield Relative(where.name, name, "as it is")


def store_network(network: Any, folder: Path) -> None:
    store(network.state_dict(), folder)


def store(state: dict[str, torch.Tensor], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: t.detach().clone().contiguous() for n, t in state.items()}, folder / "model.safetensors")


def bert(folder: Path) -> Made:
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
    )

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=32,
    )
    words = text(VOCABULARY)
    base = train(BertForMaskedLM(config), words, BASE)
    base.save_pretrained(folder / "bert-mlm")
    yield Relative("bert-mlm", None, "base")
    for seed, (name, cls) in enumerate(
        {
            "bert-sequence": BertForSequenceClassification,
            "bert-tokens": BertForTokenClassification,
            "bert-answers": BertForQuestionAnswering,
            "bert-plain": BertModel,
        }.items()
    ):
        child = tuned(cls.from_pretrained(folder / "bert-mlm"), words, seed)
        child.save_pretrained(folder / name)
        yield Relative(name, "bert-mlm", "task head")
    child = BertForMaskedLM.from_pretrained(folder / "bert-mlm")
    child.resize_token_embeddings(VOCABULARY + 13)
    tuned(child, text(VOCABULARY + 13), 7).save_pretrained(folder / "bert-resized")
    yield Relative("bert-resized", "bert-mlm", "vocabulary")
    child = BertForMaskedLM.from_pretrained(folder / "bert-mlm")
    kept = [0, 2, 4]
    child.bert.encoder.layer = torch.nn.ModuleList(child.bert.encoder.layer[i] for i in kept)
    child.config.num_hidden_layers = len(kept)
    tuned(child, words, 8).save_pretrained(folder / "bert-shallow")
    yield Relative("bert-shallow", "bert-mlm", "layers dropped", "0,2,4")
    child = tuned(BertModel.from_pretrained(folder / "bert-mlm"), words, 9)
    store({f"0.auto_model.{n}": t for n, t in child.state_dict().items()}, folder / "bert-wrapped")
    yield Relative("bert-wrapped", "bert-mlm", "wrapper")
    child = tuned(BertForMaskedLM.from_pretrained(folder / "bert-mlm"), words, 10)
    (folder / "bert-bin").mkdir()
    torch.save(child.state_dict(), folder / "bert-bin" / "pytorch_model.bin")
    yield Relative("bert-bin", "bert-mlm", "pickle file")
    child = tuned(BertForSequenceClassification.from_pretrained(folder / "bert-mlm"), words, 11)
    (folder / "bert-lightning").mkdir()
    state = {f"model.{n}": t for n, t in child.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, folder / "bert-lightning" / "epoch=3.ckpt")
    yield Relative("bert-lightning", "bert-mlm", "pickle file")
    child = tuned(BertForMaskedLM.from_pretrained(folder / "bert-mlm"), words, 12)
    (folder / "bert-old").mkdir()
    torch.save(child.state_dict(), folder / "bert-old" / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    yield Relative("bert-old", "bert-mlm", "pickle file")


def gpt2(folder: Path) -> Made:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(2)
    words = text(VOCABULARY)
    base = train(
        GPT2LMHeadModel(
            GPT2Config(
                vocab_size=VOCABULARY, n_positions=32, n_embd=64, n_layer=4, n_head=4, bos_token_id=1, eos_token_id=2
            )
        ),
        words,
        BASE,
    )
    base.save_pretrained(folder / "gpt2")
    yield Relative("gpt2", None, "base")
    yield from siblings(base, words, folder, "gpt2", 3)
    child = tuned(GPT2LMHeadModel.from_pretrained(folder / "gpt2"), words, 2)
    turned = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    store(
        {n: t.T if n.endswith(turned) else t for n, t in child.state_dict().items() if "lm_head" not in n},
        folder / "gpt2-nano",
    )
    yield Relative("gpt2-nano", "gpt2", "transposed")


def _llama(kind: str = "Llama", **more: Any) -> Any:
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **more,
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config)


def llama(folder: Path) -> Made:
    torch.manual_seed(3)
    words = text(VOCABULARY)
    base = train(_llama(), words, BASE)
    base.save_pretrained(folder / "llama")
    yield Relative("llama", None, "base")
    yield from siblings(base, words, folder, "llama", 2)
    writers: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
        "llama-fused": fused,
        "llama-internlm2": lambda s: internlm2(s, 4, 2),
        "llama-original": lambda s: original_llama(s, 4, 2),
        "llama-plain": lambda s: s,
    }
    for seed, (name, write) in enumerate(writers.items()):
        child = tuned(copy.deepcopy(base), words, seed)
        store(write(child.state_dict()), folder / name)
        yield Relative(name, "llama", "task head" if name == "llama-plain" else "renamed")
    for name, kind in {"llama-mixtral": "Mixtral", "llama-qwen2moe": "Qwen2Moe"}.items():
        more = (
            {"num_local_experts": 4}
            if kind == "Mixtral"
            else {
                "num_experts": 4,
                "moe_intermediate_size": 160,
                "shared_expert_intermediate_size": 160,
                "decoder_sparse_step": 1,
            }
        )
        child = upcycled(base, _llama(kind, **more))
        tuned(child, words, 20).save_pretrained(folder / name)
        yield Relative(name, "llama", "experts")
    child = copy.deepcopy(base)
    order = [0, 1, 2, 3, 2, 3, 4, 5]
    child.model.layers = torch.nn.ModuleList(copy.deepcopy(base.model.layers[i]) for i in order)
    child.config.num_hidden_layers = len(order)
    tuned(child, words, 21).save_pretrained(folder / "llama-grown")
    yield Relative("llama-grown", "llama", "layers stacked", ",".join(map(str, order)))


def clip(folder: Path) -> Made:
    from transformers import (
        CLIPConfig,
        CLIPForImageClassification,
        CLIPModel,
        CLIPTextModel,
        CLIPVisionModelWithProjection,
    )

    torch.manual_seed(4)
    config = CLIPConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": 32,
            "eos_token_id": 2,
            "bos_token_id": 1,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            "projection_dim": 32,
        },
        projection_dim=32,
    )
    inputs = both(text(VOCABULARY), arrays((3, 32, 32)))
    base = train(CLIPModel(config), inputs, BASE)
    base.save_pretrained(folder / "clip")
    yield Relative("clip", None, "base")
    yield from siblings(base, inputs, folder, "clip", 2)
    for seed, (name, cls, own) in enumerate(
        [
            ("clip-text", CLIPTextModel, text(VOCABULARY)),
            ("clip-vision", CLIPVisionModelWithProjection, arrays((3, 32, 32))),
            ("clip-classes", CLIPForImageClassification, arrays((3, 32, 32))),
        ]
    ):
        tuned(cls.from_pretrained(folder / "clip"), own, seed).save_pretrained(folder / name)
        yield Relative(name, "clip", "part of a model")


def vit(folder: Path) -> Made:
    """timm's ViT, one with other classes, one under transformers' names."""
    import timm

    torch.manual_seed(5)
    images = arrays((3, 32, 32), "x")
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 4, "num_heads": 4}
    base = train(timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=100, **shape), images, BASE)
    store(base.state_dict(), folder / "vit")
    yield Relative("vit", None, "base")
    yield from siblings(base, images, folder, "vit", 2, store_network)
    child = copy.deepcopy(base)
    child.reset_classifier(7)
    store(tuned(child, images, 1).state_dict(), folder / "vit-classes")
    yield Relative("vit-classes", "vit", "class count")
    child = tuned(copy.deepcopy(base), images, 2)
    store(as_transformers_vit(child.state_dict()), folder / "vit-transformers")
    yield Relative("vit-transformers", "vit", "renamed")


def convnets(folder: Path) -> Made:
    import timm

    torch.manual_seed(6)
    images = arrays((3, 32, 32), "x")
    for kind, name in {
        "resnet": "resnet10t",
        "efficient": "mobilenetv3_small_050",
        "convnext": "convnext_atto",
    }.items():
        more = {"depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48)} if kind == "convnext" else {}
        base = train(timm.create_model(name, pretrained=False, num_classes=20, **more), images, Recipe(120, 2e-3, 1))
        store(base.state_dict(), folder / kind)
        yield Relative(kind, None, "base")
        yield from siblings(base, images, folder, kind, 2, store_network)
        child = copy.deepcopy(base)
        child.reset_classifier(5)
        store(tuned(child, images, 1).state_dict(), folder / f"{kind}-classes")
        yield Relative(f"{kind}-classes", kind, "class count")


def unet(folder: Path) -> Made:
    from diffusers import UNet2DConditionModel

    def make(channels: int) -> Any:
        return UNet2DConditionModel(
            sample_size=8,
            in_channels=channels,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        )

    def inputs(channels: int) -> Inputs:
        fixed = {
            "timestep": torch.tensor(7),
            "encoder_hidden_states": torch.randn(8, 4, 16, generator=torch.Generator().manual_seed(3)),
        }
        return arrays((channels, 8, 8), "sample", **fixed)

    torch.manual_seed(7)
    base = train(make(4), inputs(4), BASE)
    base.save_pretrained(folder / "unet")
    yield Relative("unet", None, "base")
    yield from siblings(base, inputs(4), folder, "unet", 2)
    child = make(9)
    state = {n: t for n, t in base.state_dict().items() if n != "conv_in.weight"}
    child.load_state_dict(state, strict=False)
    with torch.no_grad():
        child.conv_in.weight[:, :4] = base.conv_in.weight
        child.conv_in.weight[:, 4:] = 0
    tuned(child, inputs(9), 1).save_pretrained(folder / "unet-inpaint")
    yield Relative("unet-inpaint", "unet", "input channels")


class Tagger(torch.nn.Module):
    """Words, a bidirectional LSTM, tags."""

    def __init__(self, words: int, width: int, tags: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, width)
        self.lstm = torch.nn.LSTM(width, 48, num_layers=2, bidirectional=True, batch_first=True)
        self.hidden2tag = torch.nn.Linear(96, tags)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.hidden2tag(self.lstm(self.embedding(input_ids))[0])


def taggers(folder: Path) -> Made:
    torch.manual_seed(8)
    base = train(Tagger(200, 32, 9), text(200), Recipe(250, 5e-3, 1))
    store(base.state_dict(), folder / "tagger")
    yield Relative("tagger", None, "base")
    yield from siblings(base, text(200), folder, "tagger", 2, store_network)
    for name, words, width, tags in [
        ("tagger-tags", 200, 32, 5),
        ("tagger-words", 350, 32, 9),
        ("tagger-embedding", 200, 20, 9),
    ]:
        child = Tagger(words, width, tags)
        own = child.state_dict()
        own |= {n: t for n, t in base.state_dict().items() if own[n].shape == t.shape}
        if name == "tagger-words":
            own["embedding.weight"][:200] = base.embedding.weight.detach()
        child.load_state_dict(own)
        store(tuned(child, text(words), 1).state_dict(), folder / name)
        yield Relative(
            name, "tagger", {"tagger-tags": "class count", "tagger-words": "vocabulary"}.get(name, "embedding width")
        )


class Detector(torch.nn.Module):
    """One numbered list of unlike modules, the head last, as YOLO stores it."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = torch.nn.ModuleList()
        width = [3, 8, 16, 16, 32, 32, 48, 48]
        for a, b in itertools.pairwise(width):
            self.model.append(
                torch.nn.ModuleDict(
                    {
                        "conv": torch.nn.Conv2d(a, b, 3, 2 if a != b and b < 32 else 1, 1, bias=False),
                        "bn": torch.nn.BatchNorm2d(b),
                    }
                )
            )
        self.model.append(
            torch.nn.ModuleDict(
                {"m": torch.nn.ModuleList([torch.nn.Conv2d(c, 3 * (5 + classes), 1) for c in (32, 48)])}
            )
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        kept = []
        for layer in list(self.model)[:-1]:
            x = torch.relu(layer["bn"](layer["conv"](x)))
            kept.append(x)
        return [m(t) for m, t in zip(self.model[-1]["m"], (kept[4], kept[6]), strict=True)]


def detectors(folder: Path) -> Made:
    torch.manual_seed(9)
    images = arrays((3, 32, 32), "x")
    base = train(Detector(80), images, BASE)
    store(base.state_dict(), folder / "detector")
    yield Relative("detector", None, "base")
    yield from siblings(base, images, folder, "detector", 2, store_network)
    child = Detector(2)
    child.load_state_dict({n: t for n, t in base.state_dict().items() if ".7." not in n}, strict=False)
    train(child, images, Recipe(60, 5e-4, 11))
    (folder / "detector-classes").mkdir()
    torch.save({"model": child, "epoch": 1}, folder / "detector-classes" / "best.pt")
    yield Relative("detector-classes", "detector", "class count")


def encoder_decoder(folder: Path) -> Made:
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        BartModel,
        T5Config,
        T5EncoderModel,
        T5ForConditionalGeneration,
    )

    torch.manual_seed(10)
    words = text(VOCABULARY)
    bart = BartConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=64,
        d_model=64,
        encoder_layers=3,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=2,
        decoder_start_token_id=2,
    )
    base = train(BartForConditionalGeneration(bart), words, BASE)
    base.save_pretrained(folder / "bart")
    yield Relative("bart", None, "base")
    yield from siblings(base, words, folder, "bart", 2)
    tuned(BartModel.from_pretrained(folder / "bart"), words, 1).save_pretrained(folder / "bart-plain")
    yield Relative("bart-plain", "bart", "task head")
    child = BartForConditionalGeneration.from_pretrained(folder / "bart")
    child.model.decoder.layers = torch.nn.ModuleList(child.model.decoder.layers[i] for i in (0, 2))
    child.config.decoder_layers, child.config.use_cache = 2, False
    tuned(child, words, 2).save_pretrained(folder / "bart-distilled")
    yield Relative("bart-distilled", "bart", "layers dropped", "0,2")
    t5 = T5Config(
        vocab_size=VOCABULARY,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=3,
        num_heads=4,
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    seq = both(text(VOCABULARY), text(VOCABULARY, called="decoder_input_ids"))
    base = train(T5ForConditionalGeneration(t5), seq, BASE)
    base.save_pretrained(folder / "t5")
    yield Relative("t5", None, "base")
    yield from siblings(base, seq, folder, "t5", 2)
    tuned(T5EncoderModel.from_pretrained(folder / "t5"), words, 3).save_pretrained(folder / "t5-encoder")
    yield Relative("t5-encoder", "t5", "part of a model")


def audio(folder: Path) -> Made:
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2ForSequenceClassification, Wav2Vec2Model

    torch.manual_seed(11)
    config = Wav2Vec2Config(
        vocab_size=32,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        conv_dim=(32, 32),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    sound = arrays((400,), "input_values")
    base = train(Wav2Vec2Model(config), sound, Recipe(150, 2e-3, 1))
    base.save_pretrained(folder / "wav2vec2")
    yield Relative("wav2vec2", None, "base")
    for seed, (name, cls) in enumerate(
        {"wav2vec2-ctc": Wav2Vec2ForCTC, "wav2vec2-classes": Wav2Vec2ForSequenceClassification}.items()
    ):
        tuned(cls.from_pretrained(folder / "wav2vec2"), sound, seed).save_pretrained(folder / name)
        yield Relative(name, "wav2vec2", "task head")


def multimodal(folder: Path) -> Made:
    """A Llava of a ViT of CLIP and a Llama: its language model has its own parent."""
    from transformers import CLIPVisionConfig, CLIPVisionModel, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(12)
    words, images = text(VOCABULARY), arrays((3, 32, 32))
    language = train(_llama(), words, BASE)
    language.save_pretrained(folder / "language")
    yield Relative("language", None, "base")
    yield from siblings(language, words, folder, "language", 2)
    vision_config = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4, image_size=32, patch_size=8
    )
    vision = train(CLIPVisionModel(vision_config), images, BASE)
    vision.save_pretrained(folder / "vision")
    yield Relative("vision", None, "base")
    yield from siblings(vision, images, folder, "vision", 2)
    llava = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision_config, text_config=language.config, image_token_index=299)
    )
    llava.model.language_model.load_state_dict(language.model.state_dict())
    llava.lm_head.load_state_dict(language.lm_head.state_dict())
    llava.model.vision_tower.load_state_dict(vision.state_dict())
    tuned(llava, words, 1).save_pretrained(folder / "llava")
    yield Relative("llava", "language", "part of a model")


FAMILIES = (bert, gpt2, llama, clip, vit, convnets, unet, taggers, detectors, encoder_decoder, audio, multimodal)
