"""Packings whose libraries need a GPU, written to their published layout on the CPU: EXL2 (exllamav2) and AQLM.

Both as functions of two folders, as in bench/quantizers.py. EXL2 as exllamav2 0.3 does it (conversion/adaptivegptq.py): inputs in the order
of their weight in the Hessian, a grid search over each group's scale, errors made good by later inputs, four bits for each scale.
AQLM with 2 books of 256 entries for runs of 8 values, by residual k-means, without the fine-tuning of books and norms that follows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

DAMPING, POWER = 0.12, 3.5  # of exllamav2: of the Hessian's diagonal, and of errors in the search
SHRINKS = [0.7 + 0.5 * step / 96 for step in range(97)]
RUN, BOOKS, ENTRIES, ROUNDS = 8, 2, 256, 12


def exl2(source: Path, target: Path, groups: tuple[tuple[int, int], ...]) -> None:
    """
    Args:
        groups: (bits, inputs that share a scale) of each group, in order; the last one is repeated.
    """
    hessians = input_products(source)

    def pack(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        return _exl2(weight.float(), hessians[name], groups)

    most = max(bits for bits, _ in groups)
    _written(source, target, pack, {"quant_method": "exl2", "version": "0.3.2", "bits": float(most), "head_bits": most})


def aqlm(source: Path, target: Path) -> None:
    def pack(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        return _aqlm(weight.float())

    config = {"quant_method": "aqlm", "in_group_size": RUN, "out_group_size": 1, "num_codebooks": BOOKS}
    _written(
        source, target, pack, {**config, "nbits_per_codebook": 8, "linear_weights_not_to_quantize": ["lm_head.weight"]}
    )


def _written(
    source: Path,
    target: Path,
    pack: Callable[[str, torch.Tensor], Mapping[str, torch.Tensor]],
    config: Mapping[str, Any],
) -> None:
    found: dict[str, torch.Tensor] = {}
    for name, values in load_file(source / "model.safetensors").items():
        stem = name.removesuffix(".weight")
        head = "lm_head" in name and config["quant_method"] != "exl2"  # exllamav2 packs the head, too
        if values.ndim != 2 or "embed" in name or head:
            found[name] = values.half() if config["quant_method"] == "exl2" else values
        else:
            found |= {f"{stem}.{end}": part.contiguous() for end, part in pack(stem, values).items()}
    target.mkdir(parents=True)
    save_file(found, target / "model.safetensors")
    said = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(said | {"quantization_config": config}))


def input_products(source: Path) -> dict[str, torch.Tensor]:
    """Linear layer -> (inputs, inputs): products of its inputs, summed over random tokens."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    found: dict[str, torch.Tensor] = {}

    def hook(name: str) -> Callable[..., None]:
        def add(module: torch.nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            rows = given[0].reshape(-1, given[0].shape[-1])
            found[name] = found.get(name, torch.zeros(())) + rows.T @ rows

        return add

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(hook(name))
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(8):
            model(torch.randint(0, model.config.vocab_size, (4, 64)))
    return found


def _exl2(weight: torch.Tensor, hessian: torch.Tensor, groups: tuple[tuple[int, int], ...]) -> dict[str, torch.Tensor]:
    """
    Args:
        weight: (outputs, inputs).
    """
    order = torch.argsort(torch.diag(hessian), descending=True)
    left, inverse = weight.T[order].clone(), _inverse(hessian[order][:, order])  # (inputs, outputs)
    packed, steps, largest, named, at = [], [], [], [], 0
    for group in range(len(left)):
        bits, size = groups[min(group, len(groups) - 1)]
        if at >= len(left):
            break
        step, top, scale = _scales(left[at : at + size], bits)
        half, numbers = 1 << (bits - 1), []
        for row in range(at, min(at + size, len(left))):
            number = torch.clamp(torch.round(left[row] / scale) + half, 0, 2 * half - 1)
            error = (left[row] - (number - half) * scale) / inverse[row, row]
            left[row:] -= inverse[row, row:, None] * error[None]
            numbers.append(number)
        named += [bits, sum(len(words) for words in packed)]
        packed.append(_in_words(torch.stack(numbers).long(), bits))
        steps.append(step)
        largest.append(top)
        at += size
    scales = _in_words(torch.stack(steps).long().T - 1, 4).T  # (groups, outputs / 8)
    return {
        "q_weight": torch.cat(packed),
        "q_scale": scales,
        "q_scale_max": torch.stack(largest).half(),
        "q_groups": torch.tensor(named, dtype=torch.int16),
        "q_invperm": torch.argsort(order).int(),
    }


def _inverse(hessian: torch.Tensor) -> torch.Tensor:
    """The upper half of the Cholesky factor of the inverse."""
    damped = hessian + torch.eye(len(hessian)) * DAMPING * torch.diag(hessian).mean()
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)


def _scales(rows: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(1 to 16 for each output, the largest scale, the scales themselves) of a group."""
    base = (rows.abs().amax(0) + 1e-12) / ((2**bits - 1) / 2)
    step = torch.clamp(torch.round(torch.sqrt(base / base.max()) * 16), 1, 16)
    scale, half = (step / 16) ** 2 * base.max(), 1 << (bits - 1)

    def error(shrink: float) -> float:
        levels = torch.clamp(torch.round(rows / (scale * shrink)), -half, half - 1) * scale * shrink
        return float(((rows - levels).abs() ** POWER).sum())

    top = (base.max() * min(SHRINKS, key=error)).half().float()
    return step, top, step**2 * top / 256


def _in_words(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """(n, columns) small numbers -> (n x bits / 32, columns) int32, the lowest bits first, across the ends of words."""
    stream = (numbers[:, None] >> torch.arange(bits)[None, :, None] & 1).reshape(-1, 32, numbers.shape[1])
    words = (stream << torch.arange(32)[None, :, None]).sum(1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).int()


def _aqlm(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    scales = weight.norm(dim=1, keepdim=True) / weight.shape[1] ** 0.5
    left = (weight / scales).reshape(-1, RUN)
    codes, books = [], []
    for _ in range(BOOKS):
        book = left[torch.randperm(len(left))[:ENTRIES]]
        book = torch.cat([book, torch.zeros(ENTRIES - len(book), RUN)])
        for _ in range(ROUNDS):
            nearest = torch.cdist(left, book).argmin(1)
            counts = torch.bincount(nearest, minlength=ENTRIES)[:, None]
            book = torch.where(counts > 0, torch.zeros(ENTRIES, RUN).index_add_(0, nearest, left) / counts, book)
        nearest = torch.cdist(left, book.half().float()).argmin(1)
        left = left - book.half().float()[nearest]
        codes.append(nearest)
        books.append(book.half())
    stacked = torch.stack(codes, 1).reshape(weight.shape[0], -1, BOOKS)
    return {
        "codes": torch.where(stacked >= 128, stacked - 256, stacked).to(torch.int8),
        "codebooks": torch.stack(books)[:, :, None],
        "scales": scales.half()[:, :, None, None],
    }
