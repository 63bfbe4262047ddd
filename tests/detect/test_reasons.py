"""Every reason has a template, every template is used, and what a newer version kept is still shown."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lineage
from lineage.detect import acceptance, reasons
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.group_decisions import decide_groups
from lineage.detect.methods.registry import METHODS, PLAIN
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.reasons import OF_METHOD, TEMPLATES, Reason, template
from lineage.graphdb import schema
from tests.builders import sketch_of, start

DETECT = Path(reasons.__file__).parent
JOINING = Path(lineage.__file__).parent


def plain(some: Sequence[Subject]) -> list[Decision]:
    return decide(some, Options(detector=False), torch.device("cpu"))


def keys_in_code() -> set[str]:
    """First arguments of `Reason(...)`: texts, and what an f-string or a choice may give."""
    found: set[str] = set()
    for path in (*DETECT.rglob("*.py"), *JOINING.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Reason"
                and node.args
            ):
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.add(part.value)
                    elif isinstance(part, ast.Name) and part.id in vars(schema):
                        found.add(getattr(schema, part.id))
    return found - {""}


def test_every_reason_in_the_code_has_a_template_and_every_template_is_used() -> None:
    used = keys_in_code()
    beginnings = {"copy_", "tie_"}  # of f-strings
    assert used - beginnings <= TEMPLATES.keys()
    unused = {key for key in TEMPLATES if key.partition(".")[0] not in used and not key.startswith(tuple(beginnings))}
    assert not unused


def test_questions_to_the_graph_know_every_reason_that_names_an_equal_model() -> None:
    assert set(schema.TIED) == {key for key in TEMPLATES if key.startswith("tie_")}
    assert all("{original}" in TEMPLATES[key] for key in schema.TIED)


@pytest.mark.parametrize(
    "method", [m for m in METHODS if m.needs != "outputs" and m.name != PLAIN], ids=lambda m: m.name
)
def test_every_published_method_says_why_in_its_own_words(method) -> None:
    assert "{parent}" in template(OF_METHOD + method.name)


def test_one_of_a_kind_is_counted_in_the_singular() -> None:
    assert "1 other model of" in str(Reason("no_relatives", {"count": 1}))
    assert "2 other models of" in str(Reason("no_relatives", {"count": 2}))


def test_what_a_newer_version_kept_is_shown_as_it_is() -> None:
    assert (
        Reason("not_yet_known", {"z": 2}, {"parent": "id"}).text({"id": "org/a"}.get)
        == "not_yet_known z 2, parent org/a"
    )
    assert Reason("rounded", {}, {"parent": "id"}).text() == "rounded parent id"


def test_names_with_braces_are_only_text() -> None:
    assert "{0} {x}" in Reason("no_direction", models={"parent": "id"}).text({"id": "{0} {x}"}.get)


@pytest.mark.parametrize(
    ("z", "said"),
    [(4.2, "its units grew out of those of base (growth z = +4.2)"), (-0.7, "do not show"), (1.2, "do not show")],
)
def test_growth_is_the_reason_only_where_it_shows(z: float, said: str) -> None:
    number = torch.tensor([[0.0, z], [0.0, 0.0]])
    tree = SimpleNamespace(best_tree=SimpleNamespace(slope=torch.full((2,), torch.nan)))
    evidence = SimpleNamespace(signals={"decay": torch.zeros(2, 2), "layers": torch.tensor([[0.0, z], [0.0, 0.0]])})
    family = SimpleNamespace(pairs=SimpleNamespace(growth_z=number), tree=tree, evidence=evidence)
    sentence = str(acceptance._reason(0, "base", 1, family))  # type: ignore[arg-type]
    assert said in sentence and ("it has only some of the layers of base, or copies" in sentence) == (z > 0)


def test_an_equal_body_does_not_say_that_anything_was_trained() -> None:
    assert str(Reason("equal_body")).endswith("; at most its head or vectors were trained")


def test_a_root_with_nothing_but_equals_is_not_called_their_original() -> None:
    said = plain([Subject(name, sketch_of(start(1), name)) for name in "abc"])
    root = next(d for d in said if d.answer is AnswerKind.ROOT)
    assert (
        str(root.reason)
        == "no relatives but 2 other models whose compared weights are the same, which may as well be its original"
    )


@pytest.mark.slow
def test_models_of_one_start_are_not_said_to_have_nothing_in_common() -> None:
    begun = {name: 0.7 * values for name, values in start(1).items() if values.ndim > 1}

    def trained(seed: int) -> dict[str, np.ndarray]:
        """From the same random start into directions of its own, which stand out of the noise."""
        rng = np.random.default_rng(seed)
        low = {n: rng.normal(size=(v.shape[0], 2)) @ rng.normal(size=(2, v.shape[1])) for n, v in begun.items()}
        return {n: (v + 0.06 * low[n]).astype(np.float32) for n, v in begun.items()}

    said = decide_groups([Subject(str(n), sketch_of(trained(n), str(n))) for n in (1, 2)], plain, 0.8)
    assert {d.answer for d in said} == {AnswerKind.NO_RELATIVES}
    assert "had a start in common" in str(said[0].reason)
