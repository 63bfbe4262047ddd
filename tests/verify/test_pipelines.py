"""The folder of a pipeline on either side of `verify --parent` means its main part."""

from __future__ import annotations

from pathlib import Path

from lineage.answering import Question
from lineage.detect.methods.registry import PLAIN
from lineage.detect.options import Options
from lineage.verify.checks import Outcome
from lineage.verify.gather import Expectation, verify_folder
from tests.builders import Weights, start, three_generations, write

MODELS, _ = three_generations()
EVIDENCE = {"no_dates": False, "no_declared": False, "no_detector": False, "method": PLAIN, "threshold": None}


def pipeline(folder: Path, unet: Weights) -> Path:
    for part, weights in {"unet": unet, "vae": start(5)}.items():
        write(folder / part, {"model": weights})
    (folder / "model_index.json").write_text("{}")
    return folder


def test_the_main_parts_of_two_pipelines_are_compared(tmp_path: Path) -> None:
    first = pipeline(tmp_path / "first", MODELS["a"])
    copy = pipeline(tmp_path / "copy", {name: values.astype("float16") for name, values in MODELS["a"].items()})

    def ask(name: str) -> Question:
        return Question(name, tmp_path / "sketches", None, EVIDENCE, store_it=False)

    expected = Expectation(declared=False, origin=False, parent=None, quantized_from=str(first), policy=None)
    (found,), _ = verify_folder(copy, ask, None, expected, Options(), lambda models: models)
    assert found.outcome is Outcome.HOLDS and "quantized from" in found.message
