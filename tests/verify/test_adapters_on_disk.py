"""An adapter's folder alone: the base that it names by a path is read and compared; one that is not there cannot be told about."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage.answering import Question, answer_now
from lineage.detect.methods.registry import PLAIN
from lineage.verify.checks import Check, Outcome
from lineage.verify.gather import Expectation, verify_model
from tests.adapters import lora, peft_files
from tests.builders import Weights, start, write
from tests.crawler.ggufs import llama

DECLARED = Expectation(declared=True, origin=False, parent=None, quantized_from=None, policy=None)
EVIDENCE = {"no_dates": False, "no_declared": False, "no_detector": False, "method": PLAIN, "threshold": None}


def adapter(folder: Path, base: str) -> Question:
    folder.mkdir(parents=True)
    for name, content in peft_files(lora(llama(), ("q_proj", "v_proj")), base).items():
        (folder / name).write_bytes(content)
    return Question(str(folder), folder / "sketches", None, EVIDENCE, store_it=False)


def declared(question: Question) -> Check:
    (found,) = verify_model(question, None, DECLARED)
    return found


def beside(tmp_path: Path, weights: Weights) -> None:
    write(tmp_path / "base", {"model": weights})


@pytest.mark.parametrize("whole", [True, False], ids=["a whole path", "a relative path"])
def test_the_base_at_a_path_is_compared(whole: bool, tmp_path: Path) -> None:
    beside(tmp_path, llama())
    question = adapter(tmp_path / "tuned", str(tmp_path / "base") if whole else "../base")
    found = answer_now(question, None).answer
    assert found.parent == str(tmp_path / "base") and found.relation == "ADAPTER_OF"
    assert declared(question).outcome is Outcome.HOLDS and "is declared and fits" in declared(question).message


def test_a_base_at_a_path_that_it_does_not_fit_contradicts(tmp_path: Path) -> None:
    beside(tmp_path, start(1))
    found = declared(adapter(tmp_path / "tuned", "../base"))
    assert found.outcome is Outcome.CONTRADICTED and "cannot be its base" in found.message


@pytest.mark.parametrize("base", ["../base", "org/base"])
def test_a_base_that_is_not_there_cannot_be_told_about(base: str, tmp_path: Path) -> None:
    found = declared(adapter(tmp_path / "tuned", base))
    assert found.outcome is Outcome.CANNOT_TELL and found.message.startswith(f"{base} is declared and not known here")
