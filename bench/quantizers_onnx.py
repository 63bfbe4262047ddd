"""Copies in ONNX as functions of two folders: exported by torch or built by onnxruntime-genai, and quantized by onnxruntime."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch


def onnx_int8(source: Path, target: Path) -> None:
    """By onnxruntime's dynamic quantization."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        whole = _exported(source, Path(place))
        quantize_dynamic(whole, target / "model.onnx", weight_type=QuantType.QInt8, per_channel=True)


def onnx_n_bits(source: Path, target: Path, qdq: bool = False, **how: Any) -> None:
    """By onnxruntime's quantizer of blocks.

    Args:
        qdq: operators that unpack before plain ones, in place of MatMulNBits; how: its settings.
    """
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
    from onnxruntime.quantization.quant_utils import QuantFormat

    form = QuantFormat.QDQ if qdq else QuantFormat.QOperator
    with tempfile.TemporaryDirectory() as place:
        model = onnx.load(str(_exported(source, Path(place))))
    quantizer = MatMulNBitsQuantizer(model, algo_config=DefaultWeightOnlyQuantConfig(quant_format=form, **how))
    quantizer.process()
    target.mkdir(parents=True)
    quantizer.model.save_model_to_file(str(target / "model.onnx"), False)


def onnx_nf4(source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer

    with tempfile.TemporaryDirectory() as place:
        quantizer = MatMulBnb4Quantizer(onnx.load(str(_exported(source, Path(place)))), 1, 64)
    quantizer.process()
    target.mkdir(parents=True)
    quantizer.model.save_model_to_file(str(target / "model.onnx"), False)


def onnx_genai(source: Path, target: Path) -> None:
    """By the builder of onnxruntime-genai, which writes a graph of its own."""
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(target)]
        subprocess.run([*command, "-p", "int4", "-e", "cpu", "-c", cache], check=True, capture_output=True)


def _exported(source: Path, folder: Path) -> Path:
    from transformers import AutoModelForCausalLM

    class Logits(torch.nn.Module):
        def __init__(self, model: Any):
            super().__init__()
            self.model = model

        def forward(self, tokens: torch.Tensor, mask: torch.Tensor, places: torch.Tensor) -> Any:
            return self.model(input_ids=tokens, attention_mask=mask, position_ids=places, use_cache=False).logits

    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
    given = (torch.zeros(1, 16, dtype=torch.long), torch.zeros(1, 1, 16, 16), torch.arange(16)[None])
    torch.onnx.export(Logits(model).eval(), given, str(folder / "whole.onnx"), dynamo=False, opset_version=17)
    return folder / "whole.onnx"
