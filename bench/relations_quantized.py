"""Copies made by the libraries that quantize for the Hub (bench/quantizers.py): is the original named, beside its sisters?

    python -m bench.relations_quantized [--seed 0] [--formats REGEX]        (needs: pip install -e '.[quantized]')

Two architectures (Llama; Qwen2, which has biases), of each one base that learned text and three children in bfloat16: `tuned` on other
text; `hardly`, a few steps of a small rate; `adapter`, of which queries and values alone were trained, so that norms and embeddings
are the base's. Base, tuned and adapter are quantized by every library; each copy has the four models beside it.
No card names a base. Then each copy is asked for once more with its original gone. Rules and thresholds were set on the first architecture.
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

from bench.datasets import from_environment
from bench.quantizers import quantizers
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.scanning import read_folder

HEADS, KEYS = 8, 4
ORIGINALS = ("base", "tuned", "adapter")
COLUMNS = ("copies", "original named", "another named", "relation and format right", "gone: another asserted")


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
    }


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
    recipes = {"tuned": (60, 2e-4, ()), "hardly": (8, 2e-5, ()), "adapter": (40, 1e-4, ("q_proj", "v_proj"))}
    for child, (steps, rate, only) in recipes.items():
        model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
        _train(model, data.text("wiki-b"), steps, rate, only)
        model.to(torch.bfloat16).save_pretrained(folder / child)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(96)}, unk_token="w0"))
    for one in ("base", *recipes):  # gptqmodel asks for one
        PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", pad_token="w1", eos_token="w2").save_pretrained(
            folder / one
        )


def run(first_seed: int = 0, formats: str = "") -> dict[str, Any]:
    """Prints the tables and gives their numbers.

    Args:
        first_seed: of the first architecture, the next one has the next seed. formats: a regular expression that their names match.
    """
    made = architectures()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    seconds = 0.0
    for seed, (name, make) in enumerate(made.items(), first_seed):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            family(name, make, folder / "models", seed)
            seconds += _copies_of(name, folder, table, wrong, formats)
    print("| format | " + " | ".join(COLUMNS) + " |\n| --- |" + " ---: |" * len(COLUMNS))
    for form, row in table.items():
        print(f"| {form} | " + " | ".join(str(row[column]) for column in COLUMNS) + " |")
    total = sum(table.values(), Counter[str]())
    print("| all | " + " | ".join(str(total[column]) for column in COLUMNS) + " |")
    print(*wrong, sep="\n")
    return {column.replace(" ", "_").replace(":", ""): total[column] for column in COLUMNS} | {
        "seconds": round(seconds, 1)
    }


def _copies_of(
    architecture: str, folder: Path, table: dict[str, Counter[str]], wrong: list[str], formats: str
) -> float:
    """Counts of one family; seconds of the scans."""
    import lineage

    models, seconds = folder / "models", 0.0
    for form, (called, bits, quantize) in quantizers(HEADS, KEYS).items():
        if not re.search(formats, form):
            continue
        shutil.rmtree(folder / "copies", ignore_errors=True)
        shutil.copytree(models, folder / "copies")
        for original in ORIGINALS:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                quantize(models / original, folder / "copies" / f"copy-of-{original}")
        began = time.process_time()
        found = lineage.scan(folder / "copies", declared=False)
        seconds += time.process_time() - began
        subjects = read_folder(folder / "copies").subjects()
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
                wrong.append(f"{architecture}, {form}, {original}: {answer.relation} {named} {said} {answer.reason}")
            gone = {name: subject for name, subject in subjects.items() if not name.startswith("copy-of-")}
            (copy,) = [name for name in subjects if name.startswith(f"copy-of-{original}")]
            del gone[original]
            decision = decide([*gone.values(), subjects[copy]], Options(declared=False, detector=False))[-1]
            if decision.parent is not None:
                row["gone: another asserted"] += 1
                wrong.append(f"{architecture}, {form}, {original} gone: {decision.reason} {decision.evidence}")
        print(architecture, form, dict(table[form]), file=sys.stderr, flush=True)
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the first architecture")
    parser.add_argument("--formats", default="", help="a regular expression: the formats whose names match it")
    arguments = parser.parse_args()
    print(json.dumps({"bench": "relations_quantized", **run(arguments.seed, arguments.formats)}))
