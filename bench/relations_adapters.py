"""Adapters written by peft and diffusers: is the base named where the claim is honest, and the claim flagged where it lies?

    python -m bench.relations adapters        (needs: pip install -e '.[relations]')

Bases are small models of eight architectures with random weights, each with two sisters of the same shapes and one model of other
sizes; nothing of the answer depends on values, so nothing is trained. Each adapter is saved by the library's own `save_pretrained` or
`save_lora_weights`. Claims: honest ones in adapter_config.json, in the card, in both; lying ones that name the model of other sizes or
of another architecture; a path of another machine; none. Everything is crawled into one graph, decided, and compared with its claims,
which is what `lineage sync --folder` and `lineage declared` do; the same folder is scanned, and the two must agree.

No number of the method was fitted on these models: shapes either fit or not.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lineage
from lineage.answer import from_rows
from lineage.crawler.walk import CrawlOptions
from lineage.crawling import crawl_into
from lineage.detect.options import Options
from lineage.detect.sketch_store import SketchStore
from lineage.detection import detect_into
from lineage.graphdb.store import open_store
from lineage.queries.claim_check import compare
from lineage.queries.parent_query import parent_of

FURTHER: dict[str, dict[str, Any]] = {  # further methods of peft, for FURTHER_BASES, with settings that small layers want
    "Adamss": {}, "Beft": {}, "BOFT": {}, "C3A": {"block_size": 8}, "Deft": {}, "Delora": {}, "FourierFT": {}, "Frod": {}, "Glora": {},
    "Gralora": {}, "HRA": {}, "Hira": {}, "Lily": {}, "Miss": {}, "OSF": {}, "Peanut": {}, "Poly": {}, "Psoft": {}, "Pvera": {},
    "RandLora": {}, "Road": {"group_size": 8}, "Shadow": {}, "Shira": {"r": 2}, "Supertuning": {}, "TinyLora": {}, "UniLora": {},
    "Vera": {}, "VBLoRA": {"vector_length": 8}, "WaveFT": {"n_frequency": 64},
}  # fmt: skip
FURTHER_PROMPTS = ("PrefixTuning", "PromptEncoder", "CPT", "Cartridge", "MultitaskPromptTuning")
FURTHER_BASES = ("llama", "qwen2")
HONEST = ("configuration", "card", "both")
LYING = ("other sizes", "other architecture")


@dataclass(frozen=True)
class Case:
    """One adapter. base: folder of the model it was made for; claim: what kind of claim it makes; named: the model it names."""

    name: str
    method: str
    base: str
    claim: str
    named: str | None


def bases() -> dict[str, tuple[Callable[..., Any], dict[str, Any], tuple[str, ...], tuple[str, ...]]]:
    """Name -> (maker of a model of a width, further sizes, modules to adapt, feedforward modules among them)."""
    import transformers as t

    def llama_like(config: Any, model: Any) -> Callable[..., Any]:
        return lambda width: model(
            config(
                vocab_size=128, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, head_dim=width // 4, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            )
        )  # fmt: skip

    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    encoder = {"vocab_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, **ids}
    return {
        "llama": (llama_like(t.LlamaConfig, t.LlamaForCausalLM), {}, ("q_proj", "v_proj", "down_proj"), ("down_proj",)),
        "mistral": (llama_like(t.MistralConfig, t.MistralForCausalLM), {}, ("k_proj", "v_proj", "down_proj"), ("down_proj",)),
        "qwen2": (llama_like(t.Qwen2Config, t.Qwen2ForCausalLM), {}, ("q_proj", "v_proj", "down_proj"), ("down_proj",)),
        "gemma": (llama_like(t.GemmaConfig, t.GemmaForCausalLM), {}, ("q_proj", "o_proj", "down_proj"), ("down_proj",)),
        "gpt2": (
            lambda width: t.GPT2LMHeadModel(t.GPT2Config(vocab_size=128, n_embd=width, n_layer=3, n_head=4, n_positions=64, **ids)),
            {"fan_in_fan_out": True},
            ("c_attn", "mlp.c_proj"),
            ("mlp.c_proj",),
        ),
        "bert": (
            lambda width: t.BertModel(t.BertConfig(hidden_size=width, intermediate_size=2 * width, **encoder)),
            {},
            ("query", "value", "output.dense"),
            ("output.dense",),
        ),
        "t5": (
            lambda width: t.T5ForConditionalGeneration(
                t.T5Config(vocab_size=128, d_model=width, d_kv=width // 4, d_ff=2 * width, num_layers=2, num_heads=4,
                           decoder_start_token_id=0, **ids)
            ),
            {},
            ("q", "v", "wo"),
            ("wo",),
        ),
        "vit": (
            lambda width: t.ViTModel(
                t.ViTConfig(hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=4,
                            image_size=16, patch_size=4)
            ),
            {},
            ("q_proj", "v_proj", "fc2"),
            ("fc2",),
        ),
    }  # fmt: skip


def methods(
    targets: tuple[str, ...], feedforward: tuple[str, ...], more: dict[str, Any], language: bool
) -> dict[str, Any]:
    """Configurations of peft for one base."""
    import peft as p

    chosen = list(targets)
    found = {
        "LoRA": p.LoraConfig(r=4, target_modules=chosen, **more),
        "LoRA, rank 16": p.LoraConfig(r=16, target_modules=chosen[:1], **more),
        "DoRA": p.LoraConfig(r=4, use_dora=True, target_modules=chosen, **more),
        "IA3": p.IA3Config(target_modules=chosen, feedforward_modules=list(feedforward), **more),
    }
    if not more:
        found |= {
            "AdaLoRA": p.AdaLoraConfig(total_step=10, target_modules=chosen),
            "LoHa": p.LoHaConfig(r=4, target_modules=chosen),
            "LoKr": p.LoKrConfig(r=4, target_modules=chosen),
            "OFT": p.OFTConfig(oft_block_size=8, target_modules=chosen[:1]),
        }
    if language:
        found["prompt"] = p.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6)
    return found


def further_methods(targets: tuple[str, ...]) -> dict[str, Any]:
    """Configurations of the methods of peft that few people use, for one base."""
    import peft as p

    found = {
        name: getattr(p, f"{name}Config")(target_modules=list(targets[:2]), **more) for name, more in FURTHER.items()
    }
    found["TrainableTokens"] = p.TrainableTokensConfig(token_indices=[1, 2, 3])
    for name in FURTHER_PROMPTS:
        found[name] = getattr(p, f"{name}Config")(task_type="CAUSAL_LM", num_virtual_tokens=6)
    return found


def build(folder: Path) -> list[Case]:
    """Writes bases and adapters; gives the adapters."""
    import torch

    cases: list[Case] = []
    made = bases()
    names = list(made)
    for place, (name, (make, more, targets, feedforward)) in enumerate(made.items()):
        for number, copy in enumerate(("base", "sister1", "sister2")):
            torch.manual_seed(100 * place + number)
            make(64).save_pretrained(folder / name / copy)
        torch.manual_seed(100 * place + 9)
        make(96).save_pretrained(folder / name / "wide")
        other = names[(place + len(names) // 2) % len(names)]
        said = {
            "configuration": f"{name}/base", "card": f"{name}/base", "both": f"{name}/base", "other sizes": f"{name}/wide",
            "other architecture": f"{other}/wide", "a path": f"/workspace/{name}", "nothing": None,
        }  # fmt: skip
        language = name in ("llama", "mistral", "qwen2", "gemma", "gpt2")
        kinds = methods(targets, feedforward, more, language)
        kinds |= further_methods(targets) if name in FURTHER_BASES else {}
        for method, config in kinds.items():
            source = _adapted(make(64), config, folder / "saved")
            for claim, named in said.items():
                case = Case(
                    f"people/{name}-{method}-{claim}".replace(" ", "_").replace(",", ""),
                    method,
                    f"{name}/base",
                    claim,
                    named,
                )
                _publish(source, folder / case.name, claim, named)
                cases.append(case)
            shutil.rmtree(source)
    return cases + list(_pipelines(folder))


def _adapted(model: Any, config: Any, folder: Path) -> Path:
    """An adapter as peft saves it."""
    import peft
    from torch import nn

    adapted = peft.get_peft_model(model, config)
    for values in adapted.parameters():
        if values.requires_grad:
            nn.init.normal_(values, std=0.02)
    adapted.save_pretrained(folder)
    return folder


def _publish(source: Path, folder: Path, claim: str, named: str | None) -> None:
    folder.mkdir(parents=True)
    shutil.copy(source / "adapter_model.safetensors", folder)
    config = json.loads((source / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None if claim == "card" else named
    (folder / "adapter_config.json").write_text(json.dumps(config))
    if claim in ("card", "both"):
        (folder / "README.md").write_text(f"---\nbase_model: {named}\nlibrary_name: peft\n---\n")


def _pipelines(folder: Path) -> Iterator[Case]:
    """LoRA of a UNet and a text encoder, as diffusers saves it and as it converts it for kohya's programs."""
    import torch
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
    from peft import LoraConfig, inject_adapter_in_model
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    def parts(width: int) -> tuple[Any, Any]:
        unet = UNet2DConditionModel(
            block_out_channels=(width, 2 * width), layers_per_block=1, sample_size=16, norm_num_groups=8, cross_attention_dim=width,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=8,
        )  # fmt: skip
        text = CLIPTextModel(
            CLIPTextConfig(hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=4, vocab_size=100,
                           bos_token_id=1, eos_token_id=2, pad_token_id=0)
        )  # fmt: skip
        return unet, text

    for number, (name, width) in enumerate({"sd/base": 32, "sd/sister": 32, "sd/wide": 48}.items()):
        torch.manual_seed(900 + number)
        unet, text = parts(width)
        unet.save_pretrained(folder / name / "unet")
        text.save_pretrained(folder / name / "text_encoder")
        (folder / name / "model_index.json").write_text("{}")
    unet, text = parts(32)
    unet = inject_adapter_in_model(LoraConfig(r=4, target_modules=["to_q", "to_v", "to_out.0"]), unet)
    text = inject_adapter_in_model(LoraConfig(r=4, target_modules=["q_proj", "v_proj"]), text)
    halves = {"unet": get_peft_model_state_dict(unet), "text_encoder": get_peft_model_state_dict(text)}
    joined = convert_state_dict_to_kohya(
        {f"{part}.{key}": v for part, some in halves.items() for key, v in some.items()}
    )
    said = {"card": "sd/base", "other sizes": "sd/wide", "a path": "/workspace/sd", "nothing": None}
    for claim, named in said.items():
        for program in ("diffusers", "kohya"):
            target = folder / f"people/sd-{program}-{claim}".replace(" ", "_")
            name = target.relative_to(folder).as_posix() + ("/style" if program == "kohya" else "")
            case = Case(name, f"LoRA of {program}", "sd/base", claim, named)
            target.mkdir(parents=True)
            if program == "diffusers":
                StableDiffusionPipeline.save_lora_weights(
                    target,
                    unet_lora_layers=convert_state_dict_to_diffusers(halves["unet"]),
                    text_encoder_lora_layers=convert_state_dict_to_diffusers(halves["text_encoder"]),
                )
            else:
                metadata = {"ss_sd_model_name": named} if named else {}
                save_file({k: v.contiguous() for k, v in joined.items()}, target / "style.safetensors", metadata)
            if named and program == "diffusers":
                (target / "README.md").write_text(f"---\nbase_model: {named}\n---\n")
            yield case


def run() -> dict[str, Any]:
    """Prints the table and gives its numbers."""
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place) / "models", Path(place) / "home"
        cases = build(folder)
        began = time.process_time()
        with open_store(str(home)) as graph:
            sketches = SketchStore(home / "sketches")
            crawl_into(graph, sketches, home / "progress.sqlite", CrawlOptions(folder=folder))
            crawled = time.process_time()
            detect_into(graph, sketches, Options(), "bench")
            seconds = time.process_time() - crawled
            scanned = lineage.scan(folder)
            count: dict[str, Counter[str]] = {}
            wrong: list[str] = []
            for case in cases:
                model = graph.model(case.name)
                assert model is not None, case.name
                answer = from_rows(parent_of(graph, model))
                (judged,) = compare(graph, [model.hub_id])
                parents = {_under(folder, parent.repo_id) for parent in answer.parents}
                right = {case.base} if "sd/" not in case.base else {f"{case.base}/unet", f"{case.base}/text_encoder"}
                possible = {_under(folder, parent.repo_id) for parent in answer.runners_up}
                row = count.setdefault(case.claim, Counter())
                row["adapters"] += 1
                row["ADAPTER_OF the base"] += parents == right and answer.relation == "ADAPTER_OF"
                row["another edge"] += bool(parents) and parents != right
                row["possible, the base among them"] += not parents and right <= possible
                row["contradicts"] += str(judged.agreement) == "contradicts"
                row["agrees"] += str(judged.agreement) == "agree"
                same = scanned[case.name]
                row["scan differs"] += (same.answer, {p.repo_id for p in same.parents}) != (answer.answer, parents)
                if (case.claim in HONEST and parents != right) or (
                    case.claim in LYING and str(judged.agreement) != "contradicts"
                ):
                    wrong.append(f"{case.name}: {answer.answer} {sorted(parents)}; {judged.agreement}; {answer.reason}")
    columns = (
        "adapters",
        "ADAPTER_OF the base",
        "another edge",
        "possible, the base among them",
        "agrees",
        "contradicts",
        "scan differs",
    )
    print("| claim | " + " | ".join(columns) + " |\n| --- |" + " ---: |" * len(columns))
    for claim, row in count.items():
        print(f"| {claim} | " + " | ".join(str(row[column]) for column in columns) + " |")
    print(*wrong, sep="\n")
    print(f"{len(cases)} adapters crawled in {crawled - began:.1f} s and decided in {seconds:.1f} s of processor time")
    honest = sum((count[claim] for claim in HONEST), Counter[str]())
    lying = sum((count[claim] for claim in LYING), Counter[str]())
    return {
        "honest": honest["adapters"],
        "honest_with_base": honest["ADAPTER_OF the base"],
        "honest_accused": honest["contradicts"],
        "lying": lying["adapters"],
        "lying_flagged": lying["contradicts"],
        "lying_with_an_edge": lying["ADAPTER_OF the base"] + lying["another edge"],
        "milliseconds_an_adapter": round(1000 * seconds / len(cases), 2),
    }


def _under(folder: Path, name: str) -> str:
    path = Path(name)
    return path.relative_to(folder.resolve()).as_posix() if path.is_absolute() else name


if __name__ == "__main__":
    print(json.dumps({"bench": "relations_adapters", **run()}))
