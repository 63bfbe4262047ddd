"""Families made with the libraries of the Hub: the plan needs nothing installed, the building needs transformers and peft."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.families import read_sketches, read_truth
from bench.hub_family.description import Family, Member, Merge, Recipe, Task, shortened
from bench.hub_family.plan import catalogue

TEXT = ("python-topics",)
CAUSAL = Task("causal", TEXT)


def test_parents_are_described_before_children_and_names_are_unique() -> None:
    for family in catalogue():
        known: set[str] = set()
        for member in family.members:
            assert set(member.parents) <= known, (family.name, member.names)
            assert not known & set(member.names)
            assert (member.relation is None) == (not member.parents)
            known |= set(member.names)


def test_the_same_names_and_recipes_are_drawn_every_time() -> None:
    assert [f.fingerprint for f in catalogue()] == [f.fingerprint for f in catalogue()]
    assert len({f.fingerprint for f in catalogue()}) == len(catalogue())


def test_every_architecture_has_one_base_for_tuning_and_another_for_reporting() -> None:
    splits: dict[str, set[str]] = {}
    for family in catalogue():
        splits.setdefault(family.architecture, set()).add(family.split)
        bases = [m for m in family.members if not m.parents]
        assert all(base.seed == bases[0].seed for base in bases), "decoys start from the base's seed"
    assert len(splits) >= 8
    assert all(halves == {"tune", "report"} for halves in splits.values())


def test_a_shortened_family_keeps_one_member_of_each_kind_and_its_ancestors() -> None:
    whole = next(f for f in catalogue() if f.name == "llama-a")
    short = shortened(whole, 3)
    assert short.count < whole.count
    methods = {m.recipe.method for m in whole.members if m.recipe}
    assert {m.recipe.method for m in short.members if m.recipe} == methods
    names = {name for member in short.members for name in member.names}
    assert {parent for member in short.members for parent in member.parents} <= names


def test_a_tiny_family_is_built_as_described_and_not_built_again(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed (extra hub-family)")
    pytest.importorskip("peft", reason="peft is not installed (extra hub-family)")
    from bench.hub_family.build import build, built

    def child(name: str, storage: str = "bfloat16", **changes: object) -> Member:
        recipe = replace(Recipe(CAUSAL, (2,), 1e-3, batch=2), **changes)  # type: ignore[arg-type]
        relation = "finetune-part-frozen" if recipe.method == "embeddings-frozen" else "finetune"
        return Member((name,), ("base",), relation, recipe, 5, storage, "base")

    family = Family(
        "tiny",
        "llama",
        "tune",
        (
            Member(("base",), (), None, Recipe(CAUSAL, (12,), 3e-3, batch=4), 1, "bfloat16", "base"),
            child("full"),
            child("still", learning_rate=0.0),
            child("lora", "float32", method="lora"),
            child("preferred", "float16", method="dpo"),
            child("frozen", method="embeddings-frozen"),
            child("larger", added_tokens=8),
            Member(
                ("run-1", "run-2"), ("base",), "continued", Recipe(CAUSAL, (1, 2), 1e-3, batch=2), 6, "float32", "base"
            ),
            Member(("mean",), ("full", "lora"), "merge", None, 0, "bfloat16", "base"),
            Member(("twin",), (), None, Recipe(CAUSAL, (3,), 3e-3, batch=4), 1, "bfloat16", "twin"),
        ),
        TEXT,
        512,
    )
    folder = build(family, tmp_path)
    assert built(folder, family)
    assert not built(folder, replace(family, split="report"))
    truth, sketches = read_truth(folder), read_sketches(folder)
    assert set(sketches) == {name for member in family.members for name in member.names}
    assert truth.roots == {"base", "twin"}
    assert truth.parent == {
        **dict.fromkeys(("full", "still", "lora", "preferred", "frozen", "larger", "run-1"), "base"),
        "run-2": "run-1",
        "mean": "full",
    }
    assert truth.parents["mean"] == {"full", "lora"}
    assert truth.alike("still", "base") and not truth.alike("full", "base")
    assert truth.same_run("run-1", "run-2")
    data = json.loads((folder / "truth.json").read_text())
    base = data["models"][0]
    assert base["loss"] < base["loss_before"], "the base learns something"
    assert {pair["child"] for pair in data["pairs"] if pair["moved"] == 0} == {"still"}
    from safetensors.torch import load_file

    one, other = load_file(folder / "frozen.safetensors"), load_file(folder / "base.safetensors")
    assert one["model.embed_tokens.weight"].equal(other["model.embed_tokens.weight"])
    assert not one["lm_head.weight"].equal(other["lm_head.weight"])


def test_merges_are_described_as_mergekit_reads_them(tmp_path: Path) -> None:
    from bench.hub_family.merges import configuration

    family = next(f for f in catalogue() if f.name == "llama-tied-a")
    made = {
        m.recipe.method: configuration(m, m.recipe, tmp_path) for m in family.members if isinstance(m.recipe, Merge)
    }
    assert set(made) == {"linear", "slerp", "ties", "dare_ties", "task_arithmetic"}
    assert {method for method, c in made.items() if "density" in c["models"][0].get("parameters", {})} == {
        "ties",
        "dare_ties",
    }
    assert "base_model" not in made["linear"]
    assert made["slerp"]["base_model"] == made["slerp"]["models"][0]["model"]
    assert made["ties"]["base_model"] == str(tmp_path / family.members[0].names[0])
    mergekit = pytest.importorskip("mergekit.config", reason="mergekit is not installed (extra hub-family)")
    for described in made.values():
        mergekit.MergeConfiguration.model_validate(described)
