"""The libraries that quantize models for the Hub, each as a function of two folders: a model of transformers in, its copy out.

Libraries: bitsandbytes, torchao, optimum-quanto, compressed-tensors, gptqmodel (GPTQ and AWQ), hqq, mlx, and fp8 as torch casts it; fp8 in
blocks is written here as DeepSeek publishes it. GGUF: bench/quantizers_gguf.py, ONNX: bench/quantizers_onnx.py, EXL2 and AQLM:
bench/packed_by_hand.py. All of it runs on the CPU.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.packed_by_hand import aqlm, exl2
from bench.quantizers_gguf import ggml_library, gguf_copy
from bench.quantizers_onnx import onnx_genai, onnx_int8, onnx_n_bits, onnx_nf4

Quantize = Callable[[Path, Path], None]
AGAIN = {"Q8_0": 8, "Q5_0": 5, "Q4_0": 4, "Q4_1": 4}  # GGUF's packings that are written as floats again, and bits
TURNED = (
    "bitsandbytes int8",
    "bitsandbytes nf4",
    "GPTQ 4 bits",
    "GPTQ 4 bits, reordered",
)  # what packs layers of GPT-2


def quantizers(heads: int, keys: int) -> Mapping[str, tuple[str, int, Quantize]]:
    """Name -> (what the format has to be called, bits, the quantizer).

    Args:
        heads, keys: attention heads of queries and of keys, which GGUF's converter needs.
    """
    found: dict[str, tuple[str, int, Quantize]] = {
        "bitsandbytes int8": ("bitsandbytes", 8, partial(_bitsandbytes, load_in_8bit=True)),
        "bitsandbytes nf4": ("bitsandbytes", 4, partial(_bitsandbytes, load_in_4bit=True, bnb_4bit_quant_type="nf4")),
        "bitsandbytes nf4, double": (
            "bitsandbytes", 4,
            partial(_bitsandbytes, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
        ),
        "bitsandbytes fp4": ("bitsandbytes", 4, partial(_bitsandbytes, load_in_4bit=True, bnb_4bit_quant_type="fp4")),
        "torchao int8": ("torchao", 8, partial(_torchao, kind="int8")),
        "torchao int4": ("torchao", 4, partial(_torchao, kind="int4")),
        "torchao fp8": ("torchao", 8, partial(_torchao, kind="fp8")),
        "quanto int8": ("quanto", 8, partial(_quanto, kind="qint8")),
        "quanto int4": ("quanto", 4, partial(_quanto, kind="qint4")),
        "quanto int2": ("quanto", 2, partial(_quanto, kind="qint2")),
        "quanto fp8": ("quanto", 8, partial(_quanto, kind="qfloat8")),
        "compressed-tensors int4": ("compressed-tensors", 4, partial(_compressed, preset="W4A16")),
        "compressed-tensors int4, zeros": ("compressed-tensors", 4, partial(_compressed, preset="W4A16_ASYM")),
        "compressed-tensors int8": ("compressed-tensors", 8, partial(_compressed, preset="W8A8")),
        "compressed-tensors fp8": ("compressed-tensors", 8, partial(_compressed, preset="FP8_DYNAMIC")),
        "compressed-tensors fp8, blocks": ("compressed-tensors", 8, partial(_compressed, preset="FP8_BLOCK")),
        "NVFP4": ("compressed-tensors", 4, partial(_compressed, preset="NVFP4A16")),
        "MXFP4": ("compressed-tensors", 4, partial(_compressed, preset="MXFP4A16")),
        "GPTQ 4 bits": ("gptq", 4, partial(_gptqmodel, bits=4, group_size=128)),
        "GPTQ 4 bits, reordered": ("gptq", 4, partial(_gptqmodel, bits=4, group_size=64, desc_act=True)),
        "GPTQ 3 bits": ("gptq", 3, partial(_gptqmodel, bits=3, group_size=64)),
        "GPTQ 4 bits, second format": (
            "gptq", 4, partial(_gptqmodel, bits=4, group_size=128, sym=False, format="gptq_v2"),
        ),
        "AWQ 4 bits": ("awq", 4, partial(_gptqmodel, bits=4, group_size=128, quant_method="awq", format="gemm")),
        "MLX 4 bits": ("mlx", 4, partial(_mlx, group_size=64, bits=4)),
        "MLX 3 bits": ("mlx", 3, partial(_mlx, group_size=64, bits=3)),
        "MLX 6 bits": ("mlx", 6, partial(_mlx, group_size=32, bits=6)),
        "MLX 8 bits": ("mlx", 8, partial(_mlx, group_size=64, bits=8)),
        "MLX mxfp4": ("mlx", 4, partial(_mlx, mode="mxfp4")),
        "ONNX int8": ("onnx", 8, onnx_int8),
        "ONNX int4": ("onnx", 4, partial(onnx_n_bits, block_size=32, is_symmetric=True)),
        "ONNX int4, zeros": ("onnx", 4, partial(onnx_n_bits, block_size=128, is_symmetric=False)),
        "ONNX int4, before operators": ("onnx", 4, partial(onnx_n_bits, qdq=True, block_size=32, is_symmetric=True)),
        "ONNX nf4": ("onnx nf4", 4, onnx_nf4),
        "ONNX int4, genai": ("onnx", 4, onnx_genai),
        "HQQ 8 bits": ("hqq", 8, partial(_hqq, nbits=8, group_size=64, axis=1)),
        "HQQ 4 bits": ("hqq", 4, partial(_hqq, nbits=4, group_size=64, axis=1)),
        "HQQ 4 bits, columns": ("hqq", 4, partial(_hqq, nbits=4, group_size=64, axis=0)),
        "HQQ 3 bits": ("hqq", 3, partial(_hqq, nbits=3, group_size=64, axis=1)),
        "HQQ 2 bits": ("hqq", 2, partial(_hqq, nbits=2, group_size=16, axis=1)),
        "EXL2 6 bits": ("exl2", 6, partial(exl2, groups=((8, 32), (6, 32)))),
        "EXL2 4 bits": ("exl2", 4, partial(exl2, groups=((5, 32), (4, 32)))),
        "EXL2 3 bits": ("exl2", 3, partial(exl2, groups=((4, 32), (4, 32), (3, 32)))),
        "AQLM 2 bits": ("aqlm", 2, aqlm),
        "fp8, a scale a block": ("fp8", 8, _blocks_fp8),
        "fp8, a cast": ("fp8", 8, _cast_fp8),
    }  # fmt: skip
    found["bitsandbytes int8, floats again"] = ("8 bits", 8, partial(_bitsandbytes, again=True, load_in_8bit=True))
    nf4_again = partial(_bitsandbytes, again=True, load_in_4bit=True, bnb_4bit_quant_type="nf4")
    found["bitsandbytes nf4, floats again"] = ("4 bits", 4, nf4_again)
    for kind, bits in AGAIN.items():
        found[f"GGUF {kind}, floats again"] = (f"{bits} bits", bits, partial(_gguf_again, kind=kind))
    for kind, bits in {"Q8_0": 8, "Q6_K": 6, "Q5_1": 5, "Q5_0": 5, "Q4_K": 4, "Q4_1": 4, "Q4_0": 4}.items():
        found[f"GGUF {kind}"] = ("gguf", bits, partial(gguf_copy, kind=kind, heads=heads, keys=keys))
    by_ggml = {"IQ4_XS": 4, "IQ3_S": 3, "IQ2_XS": 2, "IQ1_M": 1, "Q4_K": 4, "Q3_K": 3, "Q2_K": 2}
    for kind, bits in by_ggml.items() if ggml_library() else ():
        copy = partial(gguf_copy, kind=kind, heads=heads, keys=keys, by_ggml=True)
        found[f"GGUF {kind}, llama.cpp"] = ("gguf", bits, copy)
    return found


def _loaded(source: Path, **how: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16, device_map="cpu", **how)


def _bitsandbytes(source: Path, target: Path, again: bool = False, **how: Any) -> None:
    """
    Args:
        again: written as plain floats again.
    """
    from transformers import BitsAndBytesConfig

    model = _loaded(source, quantization_config=BitsAndBytesConfig(**how))
    model = model.dequantize().to(torch.bfloat16) if again else model
    model.save_pretrained(target)


def _gguf_again(source: Path, target: Path, kind: str) -> None:
    """As transformers reads a GGUF file and saves it: every matrix through a packing and back."""
    import gguf
    from safetensors.torch import load_file, save_file

    packing = gguf.GGMLQuantizationType[kind]
    tensors = load_file(source / "model.safetensors")
    for name in [name for name, values in tensors.items() if values.ndim == 2]:
        packed = gguf.quants.quantize(tensors[name].float().numpy(), packing)
        tensors[name] = torch.from_numpy(gguf.quants.dequantize(packed, packing)).to(torch.bfloat16)
    target.mkdir(parents=True)
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    shutil.copy(source / "config.json", target)


def _torchao(source: Path, target: Path, kind: str) -> None:
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig
    from torchao.quantization.granularity import PerGroup
    from transformers import TorchAoConfig

    how: Any = {
        "int8": lambda: Int8WeightOnlyConfig(version=2),
        "int4": lambda: IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32)),
        "fp8": Float8WeightOnlyConfig,
    }[kind]()
    _loaded(source, quantization_config=TorchAoConfig(how)).save_pretrained(target)


def _quanto(source: Path, target: Path, kind: str) -> None:
    from optimum import quanto

    model = _loaded(source)
    quanto.QuantizedModelForCausalLM.quantize(model, weights=getattr(quanto, kind), exclude="lm_head").save_pretrained(
        target
    )


def _compressed(source: Path, target: Path, preset: str) -> None:
    """As llm-compressor does, without calibration: scales from the extremes of each group."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    model = _loaded(source)
    scheme = preset_name_to_scheme(preset, ["Linear"])
    config = QuantizationConfig(
        config_groups={"group_0": scheme}, ignore=["lm_head"], quantization_status="initialized"
    )
    apply_quantization_config(model, config)
    for module in model.modules():
        how = getattr(module, "quantization_scheme", None)
        if how is None or how.weights is None:
            continue
        args, weight, more = how.weights, module.weight.data.float(), {}
        if args.strategy in ("group", "tensor_group"):
            parts, axes = weight.reshape(weight.shape[0], -1, args.group_size), (-1,)
        elif args.strategy == "block":
            tall, wide = args.block_structure
            parts = weight.reshape(weight.shape[0] // tall, tall, weight.shape[1] // wide, wide)
            axes = (1, 3)
        else:
            parts, axes = weight, (1,)
        least, most = parts.amin(axes), parts.amax(axes)
        if args.strategy == "channel":
            least, most = least[:, None], most[:, None]
        if args.strategy == "tensor_group":
            of_all = generate_gparam(weight.min().reshape(1), weight.max().reshape(1))
            module.weight_global_scale.data = of_all.to(module.weight_global_scale.dtype)
            more = {"global_scale": of_all}
        scale, zero = calculate_qparams(least, most, args, **more)
        module.weight_scale.data = scale.to(module.weight_scale.dtype).reshape(module.weight_scale.shape)
        if hasattr(module, "weight_zero_point"):
            place = module.weight_zero_point
            place.data = zero.to(place.dtype).reshape(place.shape)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(target)
    compressor.update_config(target)


def _gptqmodel(source: Path, target: Path, **how: Any) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    source, target = source.absolute(), target.absolute()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):  # it leaves its logs in the working folder
        _calibrated(source, target, **how)


def _calibrated(source: Path, target: Path, **how: Any) -> None:
    import gptqmodel

    gptqmodel._default_cpu_workers = lambda: 2  # its pool refuses to start with one processor
    torch.manual_seed(0)
    model = gptqmodel.GPTQModel.load(str(source), gptqmodel.QuantizeConfig(**how), device="cpu")
    rows = [torch.randint(0, 96, (1, 64)) for _ in range(16)]
    model.quantize([{"input_ids": row, "attention_mask": torch.ones_like(row)} for row in rows], batch_size=1)
    model.save(str(target))


def _hqq(source: Path, target: Path, **how: Any) -> None:
    from hqq.core.quantize import BaseQuantizeConfig
    from hqq.models.hf.base import AutoHQQHFModel

    model = _loaded(source)
    config = BaseQuantizeConfig(**how)
    AutoHQQHFModel.quantize_model(model, quant_config=config, compute_dtype=torch.bfloat16, device="cpu")
    AutoHQQHFModel.save_to_safetensors(model, str(target))


def _mlx(source: Path, target: Path, **how: Any) -> None:
    """As mlx-lm's converter does: every matrix, the embedding too."""
    import mlx.core as mx

    found = {}
    for name, values in mx.load(str(source / "model.safetensors")).items():
        if values.ndim != 2:
            found[name] = values
            continue
        stem = name.removesuffix("weight")
        for end, part in zip(("weight", "scales", "biases"), mx.quantize(values, **how), strict=False):
            found[stem + end] = part
    target.mkdir(parents=True)
    mx.save_safetensors(str(target / "model.safetensors"), found, {"format": "mlx"})
    config = json.loads((source / "config.json").read_text())
    config["quantization"] = {"group_size": 64, "bits": 4, **how}
    (target / "config.json").write_text(json.dumps(config))


def _blocks_fp8(source: Path, target: Path) -> None:
    """As DeepSeek and Qwen publish theirs."""
    from safetensors.torch import load_file, save_file

    found: dict[str, torch.Tensor] = {}
    for name, values in load_file(source / "model.safetensors").items():
        if values.ndim != 2 or "embed" in name or "lm_head" in name:
            found[name] = values
            continue
        rows, wide = values.shape
        blocks = values.float().reshape(rows // 128, 128, wide // 128, 128)
        scale = blocks.abs().amax((1, 3), keepdim=True) / 448
        found[name] = (blocks / scale).reshape(rows, wide).to(torch.float8_e4m3fn)
        found[name.removesuffix("weight") + "weight_scale_inv"] = scale.reshape(rows // 128, wide // 128)
    target.mkdir(parents=True)
    save_file(found, target / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    (target / "config.json").write_text(json.dumps(config))


def _cast_fp8(source: Path, target: Path) -> None:
    """Every tensor cast to fp8, vectors too, as copies of diffusion models are."""
    from safetensors.torch import load_file, save_file

    target.mkdir(parents=True)
    tensors = load_file(source / "model.safetensors")
    save_file({n: v.to(torch.float8_e4m3fn) for n, v in tensors.items()}, target / "model.safetensors")
    shutil.copy(source / "config.json", target)
