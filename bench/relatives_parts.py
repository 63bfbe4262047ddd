"""Families of models in several parts (text and vision, a language model in a multimodal one), of sounds and of LSTM."""

from __future__ import annotations

import torch

from bench.relatives_making import VOCABULARY, Made, Making, Relative, store, store_network
from bench.relatives_text import llama_network
from bench.relatives_training import Recipe, arrays, both, text


def clip(making: Making) -> Made:
    from transformers import (
        CLIPConfig,
        CLIPForImageClassification,
        CLIPModel,
        CLIPTextModel,
        CLIPVisionModelWithProjection,
    )

    making.start(4)
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
    base = making.train(CLIPModel(config), inputs)
    yield from making.published(base, inputs, "clip", 2)
    for seed, (name, cls, own) in enumerate(
        [
            ("clip-text", CLIPTextModel, text(VOCABULARY)),
            ("clip-vision", CLIPVisionModelWithProjection, arrays((3, 32, 32))),
            ("clip-classes", CLIPForImageClassification, arrays((3, 32, 32))),
        ]
    ):
        making.tuned(cls.from_pretrained(making.folder / "clip"), own, seed).save_pretrained(making.folder / name)
        yield Relative(name, "clip", "part of a model")


def audio(making: Making) -> Made:
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2ForSequenceClassification, Wav2Vec2Model

    making.start(11)
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
    base = making.train(Wav2Vec2Model(config), sound, Recipe(150, 2e-3, 1))
    base.save_pretrained(making.folder / "wav2vec2")
    yield Relative("wav2vec2", None, "base")
    for seed, (name, cls) in enumerate(
        {"wav2vec2-ctc": Wav2Vec2ForCTC, "wav2vec2-classes": Wav2Vec2ForSequenceClassification}.items()
    ):
        making.tuned(cls.from_pretrained(making.folder / "wav2vec2"), sound, seed).save_pretrained(making.folder / name)
        yield Relative(name, "wav2vec2", "task head")


def multimodal(making: Making) -> Made:
    """A Llava of a ViT of CLIP and a Llama: its language model has its own parent."""
    from transformers import CLIPVisionConfig, CLIPVisionModel, LlavaConfig, LlavaForConditionalGeneration

    making.start(12)
    words, images = text(VOCABULARY), arrays((3, 32, 32))
    language = making.train(llama_network(), words)
    yield from making.published(language, words, "language", 2)
    vision_config = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4, image_size=32, patch_size=8
    )
    vision = making.train(CLIPVisionModel(vision_config), images)
    yield from making.published(vision, images, "vision", 2)
    llava = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision_config, text_config=language.config, image_token_index=299)
    )
    llava.model.language_model.load_state_dict(language.model.state_dict())
    llava.lm_head.load_state_dict(language.lm_head.state_dict())
    llava.model.vision_tower.load_state_dict(vision.state_dict())
    making.tuned(llava, words, 1).save_pretrained(making.folder / "llava")
    yield Relative("llava", "language", "part of a model")


class Tagger(torch.nn.Module):
    """Words, a bidirectional LSTM, tags."""

    def __init__(self, words: int, width: int, tags: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, width)
        self.lstm = torch.nn.LSTM(width, 48, num_layers=2, bidirectional=True, batch_first=True)
        self.hidden2tag = torch.nn.Linear(96, tags)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.hidden2tag(self.lstm(self.embedding(input_ids))[0])


def taggers(making: Making) -> Made:
    making.start(8)
    base = making.train(Tagger(200, 32, 9), text(200), Recipe(250, 5e-3, 1))
    yield from making.published(base, text(200), "tagger", 2, store_network)
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
        store(making.tuned(child, text(words), 1).state_dict(), making.folder / name)
        yield Relative(
            name, "tagger", {"tagger-tags": "class count", "tagger-words": "vocabulary"}.get(name, "embedding width")
        )
