"""Families of language models, made by transformers: a base, and children as it stores them or a converter would."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from bench.relatives_converters import fused, internlm2, original_llama, upcycled
from bench.relatives_making import VOCABULARY, Made, Making, Relative, store
from bench.relatives_training import both, text


def bert(making: Making) -> Made:
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
    )

    making.start(1)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=32,
    )
    words = text(VOCABULARY)
    base = making.train(BertForMaskedLM(config), words)
    base.save_pretrained(making.folder / "bert-mlm")
    yield Relative("bert-mlm", None, "base")
    for seed, (name, cls) in enumerate(
        {
            "bert-sequence": BertForSequenceClassification,
            "bert-tokens": BertForTokenClassification,
            "bert-answers": BertForQuestionAnswering,
            "bert-plain": BertModel,
        }.items()
    ):
        child = making.tuned(cls.from_pretrained(making.folder / "bert-mlm"), words, seed)
        child.save_pretrained(making.folder / name)
        yield Relative(name, "bert-mlm", "task head")
    child = BertForMaskedLM.from_pretrained(making.folder / "bert-mlm")
    child.resize_token_embeddings(VOCABULARY + 13)
    making.tuned(child, text(VOCABULARY + 13), 7).save_pretrained(making.folder / "bert-resized")
    yield Relative("bert-resized", "bert-mlm", "vocabulary")
    child = BertForMaskedLM.from_pretrained(making.folder / "bert-mlm")
    kept = [0, 2, 4]
    child.bert.encoder.layer = torch.nn.ModuleList(child.bert.encoder.layer[i] for i in kept)
    child.config.num_hidden_layers = len(kept)
    making.tuned(child, words, 8).save_pretrained(making.folder / "bert-shallow")
    yield Relative("bert-shallow", "bert-mlm", "layers dropped", "0,2,4")
    child = making.tuned(BertModel.from_pretrained(making.folder / "bert-mlm"), words, 9)
    store({f"0.auto_model.{n}": t for n, t in child.state_dict().items()}, making.folder / "bert-wrapped")
    yield Relative("bert-wrapped", "bert-mlm", "wrapper")
    child = making.tuned(BertForMaskedLM.from_pretrained(making.folder / "bert-mlm"), words, 10)
    (making.folder / "bert-bin").mkdir()
    torch.save(child.state_dict(), making.folder / "bert-bin" / "pytorch_model.bin")
    yield Relative("bert-bin", "bert-mlm", "pickle file")
    child = making.tuned(BertForSequenceClassification.from_pretrained(making.folder / "bert-mlm"), words, 11)
    (making.folder / "bert-lightning").mkdir()
    state = {f"model.{n}": t for n, t in child.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, making.folder / "bert-lightning" / "epoch=3.ckpt")
    yield Relative("bert-lightning", "bert-mlm", "pickle file")
    child = making.tuned(BertForMaskedLM.from_pretrained(making.folder / "bert-mlm"), words, 12)
    (making.folder / "bert-old").mkdir()
    torch.save(
        child.state_dict(), making.folder / "bert-old" / "pytorch_model.bin", _use_new_zipfile_serialization=False
    )
    yield Relative("bert-old", "bert-mlm", "pickle file")


def gpt2(making: Making) -> Made:
    from transformers import GPT2Config, GPT2LMHeadModel

    making.start(2)
    words = text(VOCABULARY)
    base = making.train(
        GPT2LMHeadModel(
            GPT2Config(
                vocab_size=VOCABULARY, n_positions=32, n_embd=64, n_layer=4, n_head=4, bos_token_id=1, eos_token_id=2
            )
        ),
        words,
    )
    yield from making.published(base, words, "gpt2", 3)
    child = making.tuned(GPT2LMHeadModel.from_pretrained(making.folder / "gpt2"), words, 2)
    turned = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    store(
        {n: t.T if n.endswith(turned) else t for n, t in child.state_dict().items() if "lm_head" not in n},
        making.folder / "gpt2-nano",
    )
    yield Relative("gpt2-nano", "gpt2", "transposed")


def llama_network(kind: str = "Llama", **more: Any) -> Any:
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


def llama(making: Making) -> Made:
    making.start(3)
    words = text(VOCABULARY)
    base = making.train(llama_network(), words)
    yield from making.published(base, words, "llama", 2)
    writers: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
        "llama-fused": fused,
        "llama-internlm2": lambda s: internlm2(s, 4, 2),
        "llama-original": lambda s: original_llama(s, 4, 2),
        "llama-plain": lambda s: s,
    }
    for seed, (name, write) in enumerate(writers.items()):
        child = making.tuned(copy.deepcopy(base), words, seed)
        store(write(child.state_dict()), making.folder / name)
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
        child = upcycled(base, llama_network(kind, **more))
        making.tuned(child, words, 20).save_pretrained(making.folder / name)
        yield Relative(name, "llama", "experts")
    child = copy.deepcopy(base)
    order = [0, 1, 2, 3, 2, 3, 4, 5]
    child.model.layers = torch.nn.ModuleList(copy.deepcopy(base.model.layers[i]) for i in order)
    child.config.num_hidden_layers = len(order)
    making.tuned(child, words, 21).save_pretrained(making.folder / "llama-grown")
    yield Relative("llama-grown", "llama", "layers stacked", ",".join(map(str, order)))


def encoder_decoder(making: Making) -> Made:
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        BartModel,
        T5Config,
        T5EncoderModel,
        T5ForConditionalGeneration,
    )

    making.start(10)
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
    base = making.train(BartForConditionalGeneration(bart), words)
    yield from making.published(base, words, "bart", 2)
    making.tuned(BartModel.from_pretrained(making.folder / "bart"), words, 1).save_pretrained(
        making.folder / "bart-plain"
    )
    yield Relative("bart-plain", "bart", "task head")
    child = BartForConditionalGeneration.from_pretrained(making.folder / "bart")
    child.model.decoder.layers = torch.nn.ModuleList(child.model.decoder.layers[i] for i in (0, 2))
    child.config.decoder_layers, child.config.use_cache = 2, False
    making.tuned(child, words, 2).save_pretrained(making.folder / "bart-distilled")
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
    base = making.train(T5ForConditionalGeneration(t5), seq)
    yield from making.published(base, seq, "t5", 2)
    making.tuned(T5EncoderModel.from_pretrained(making.folder / "t5"), words, 3).save_pretrained(
        making.folder / "t5-encoder"
    )
    yield Relative("t5-encoder", "t5", "part of a model")
