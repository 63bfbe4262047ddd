"""Copies made by the libraries that quantize for the Hub (bench/quantizers.py): is the original named, beside its sisters?

    python -m bench.relations_quantized [--seed 0] [--architectures REGEX] [--formats REGEX] [--write]  (pip install -e '.[quantized]')

Six architectures (Llama; Qwen2, which has biases; GPT-2, whose layers lie the other way round, by what packs these; GPT-NeoX, whose
queries, keys and values are one matrix; Qwen3, which has norms of heads; BERT as a decoder), of each one base that learned text and three
children in bfloat16: `tuned` on other text; `hardly`, a few steps of a small rate; `adapter`, of which queries and values alone were
trained, so that norms and embeddings are the base's. Base, tuned and adapter are quantized by every library; each copy has the four models
beside it. No card names a base. Then each copy is asked for once more with its original gone. Rules and most thresholds were set on the
first architecture, those of HQQ and of llama.cpp's two and three bits on the first two.
`--write` puts what was printed into RESULTS.md, in a section of its own for each version of the method.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import torch

import lineage
from bench.datasets import from_environment
from bench.quantizers import TURNED, quantizers
from bench.results_section import put_section
from lineage.detect.pipeline import METHOD_VERSION

HEADS, KEYS = 8, 4
ALL_HEADS = ("neox", "bert")  # that have as many heads of keys as of queries
CANNOT_PACK = {
    "neox": ("HQQ",),
    "bert": ("HQQ", "GGUF", "fp8, a scale a block", "compressed-tensors fp8, blocks"),
}  # what the libraries do not make of them, or not whole
ORIGINALS = ("base", "tuned", "adapter")
MODELS = (*ORIGINALS, "hardly")
COLUMNS = ("copies", "original named", "another named", "relation and format right", "gone: another asserted")
ABOUT = """Copies by bitsandbytes, torchao, optimum-quanto, compressed-tensors, gptqmodel (GPTQ, AWQ), hqq, mlx, onnxruntime,
onnxruntime-genai and gguf; EXL2 and AQLM are written to their published layout; "llama.cpp" is packed by its own library with an importance
matrix. Each copy lies beside the base, two tunings and a third that hardly moved; the last column counts copies whose original was
taken away and that were given to a sister. Reach: original named in 0.99, relation and format right in all, no sister named."""


def architectures() -> dict[str, Any]:
    """Name -> a model with random weights."""
    import transformers as t

    sizes: dict[str, Any] = {
        "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": HEADS,
        "num_key_value_heads": KEYS, "vocab_size": 96, "max_position_embeddings": 128, "tie_word_embeddings": False,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    return {
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**sizes)),
        "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**sizes)),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**_of_gpt2())),
        "neox": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**sizes)),
        "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**sizes, head_dim=sizes["hidden_size"] // HEADS)),
        "bert": lambda: t.BertLMHeadModel(t.BertConfig(**sizes, is_decoder=True)),
    }


def _of_gpt2() -> dict[str, Any]:
    return {
        "n_embd": 256, "n_layer": 3, "n_head": HEADS, "vocab_size": 96, "n_positions": 128,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip


def _train(model: Any, text: torch.Tensor, steps: int, rate: float, only: tuple[str, ...] = ()) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not only or any(part in name for part in only))
    chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=rate, weight_decay=0.01)
    for _ in range(steps):
        starts = torch.randint(0, len(text) - 65, (8,)).tolist()
        rows = torch.stack([text[start : start + 64] for start in starts])
        loss = model(input_ids=rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def family(name: str, make: Any, folder: Path, seed: int) -> None:
    """Base and children of one architecture, `FOLDER/<model>`."""
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    data = from_environment()
    torch.manual_seed(seed)
    model = make()
    _train(model, data.text("shakespeare"), 200, 1e-3)
    model.to(torch.bfloat16).save_pretrained(folder / "base")
    recipes = {
        "tuned": (60, 2e-4, ()),
        "hardly": (8, 2e-5, ()),
        "adapter": (40, 1e-4, ("q_proj", "v_proj", "c_attn", "query", "value")),
    }
    for child, (steps, rate, only) in recipes.items():
        model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
        _train(model, data.text("wiki-b"), steps, rate, only)
        model.to(torch.bfloat16).save_pretrained(folder / child)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(96)}, unk_token="w0"))
    for one in ("base", *recipes):  # gptqmodel asks for one
        PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", pad_token="w1", eos_token="w2").save_pretrained(
            folder / one
        )


def run(first_seed: int = 0, formats: str = "", write: bool = False, which: str = "") -> dict[str, Any]:
    """Prints the tables and gives their numbers.

    Args:
        first_seed: of the first architecture, the next one has the next seed. formats, which: regular expressions that the names of formats
            and of architectures match.
        write: whether the table goes into RESULTS.md.
    """
    made = {name: make for name, make in architectures().items() if re.search(which, name)}
    table: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    seconds = 0.0
    for seed, (name, make) in enumerate(made.items(), first_seed):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            family(name, make, folder / "models", seed)
            seconds += _copies_of(name, folder, table, wrong, formats)
    lines = ["| format | " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * len(COLUMNS)]
    total = sum(table.values(), Counter[str]())
    for form, row in [*table.items(), ("all", total)]:
        lines.append(f"| {form} | " + " | ".join(str(row[column]) for column in COLUMNS) + " |")
    lines += ["", *(f"- {line}" for line in wrong)] if wrong else []
    print("\n".join(lines))
    if write:
        chosen = f" --architectures '{which}'" if which else ""
        chosen += f" --formats '{formats}'" if formats else ""
        about = f"`python -m bench.relations_quantized --seed {first_seed}{chosen} --write`. {ABOUT}"
        put_section(f"## Quantized copies, version {METHOD_VERSION}", about, lines)
    return {column.replace(" ", "_").replace(":", ""): total[column] for column in COLUMNS} | {
        "seconds": round(seconds, 1)
    }


def _copies_of(
    architecture: str, folder: Path, table: dict[str, Counter[str]], wrong: list[str], formats: str
) -> float:
    """Counts of one family; seconds of the scans."""
    models, seconds = folder / "models", 0.0
    keys = HEADS if architecture in ALL_HEADS else KEYS
    for form, (called, bits, quantize) in quantizers(HEADS, keys).items():
        if not re.search(formats, form) or (architecture == "gpt2" and form not in TURNED):
            continue
        if form.startswith(CANNOT_PACK.get(architecture, ())):
            continue
        shutil.rmtree(folder / "copies", ignore_errors=True)
        shutil.copytree(models, folder / "copies")
        for original in ORIGINALS:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                quantize(models / original, folder / "copies" / f"copy-of-{original}")
        began = time.process_time()
        found = lineage.scan(folder / "copies", declared=False)
        seconds += time.process_time() - began
        for original in ORIGINALS:
            (answer,) = [answer for model, answer in found.items() if model.startswith(f"copy-of-{original}")]
            named = [parent.repo_id for parent in answer.parents]
            row = table[form]
            row["copies"] += 1
            row["original named"] += named == [original]
            row["another named"] += bool(named) and named != [original]
            said = answer.evidence or {}
            right = answer.relation == "QUANTIZED_FROM" and str(said.get("format", "")).startswith(called)
            row["relation and format right"] += right and said.get("bits") == bits
            if named != [original] or not right or said.get("bits") != bits:
                said = {key: said.get(key) for key in ("format", "bits")}
                wrong.append(f"{architecture}, {form}, {original}: {answer.relation} {named} {said} {answer.reason}")
            (given_to,) = _without(folder, original).parents[:1] or (None,)
            if given_to is not None:
                row["gone: another asserted"] += 1
                wrong.append(f"{architecture}, {form}, {original} gone: given to {given_to.repo_id}")
        print(architecture, form, dict(table[form]), file=sys.stderr, flush=True)
    return seconds


def _without(folder: Path, original: str) -> lineage.Answer:
    """The answer about a copy beside the models but for its original."""
    shutil.rmtree(folder / "gone", ignore_errors=True)
    (folder / "gone").mkdir()
    for place in (folder / "copies").iterdir():
        if place.name != original and place.name in (*MODELS, f"copy-of-{original}"):
            shutil.copytree(place, folder / "gone" / place.name)
    found = lineage.scan(folder / "gone", declared=False)
    return next(answer for model, answer in found.items() if model.startswith("copy-of-"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the first architecture")
    parser.add_argument("--formats", default="", help="a regular expression: the formats whose names match it")
    parser.add_argument("--architectures", default="", help="a regular expression: those whose names match it")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    arguments = parser.parse_args()
    found = run(arguments.seed, arguments.formats, arguments.write, arguments.architectures)
    print(json.dumps({"bench": "relations_quantized", **found}))
