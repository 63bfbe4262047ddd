"""Origins of blocks: networks put together from others whose making is known, and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.detect.origins import BlockOutcome, NothingAlike, Parts, origins, parts_of, plan_rows
from tests import builders
from tests.builders import Weights
from tests.cli.command import command_at

SHAPES = {
    "stem.weight": (24, 12),
    **{f"blocks.{i}.fc1.weight": (32, 24) for i in range(4)},
    **{f"blocks.{i}.fc1.bias": (32,) for i in range(4)},
    **{f"blocks.{i}.fc2.weight": (24, 32) for i in range(4)},
    "norm.weight": (24,),
    "head.weight": (10, 24),
}


def parts(name: str, weights: Weights, prefix: str = "", budget: int = 1 << 20) -> Parts:
    header = [builders.Header(prefix + n, "F32", v.shape) for n, v in weights.items()]
    blocks = plan_rows(header, budget)
    flat = {prefix + n: torch.from_numpy(v).flatten() for n, v in weights.items()}
    return parts_of(name, header, {b.tensor: flat[b.tensor][b.start : b.stop] for b in blocks})


def strangers(count: int) -> dict[str, Weights]:
    return {f"m{i}": builders.start(10 + i, SHAPES) for i in range(count)}


def mixed(models: dict[str, Weights], sources: list[str], places: list[int] | None = None) -> Weights:
    """Block i is block places[i] of sources[i]; the rest is the first model's."""
    made = dict(next(iter(models.values())))
    for i, source in enumerate(sources):
        for part in ("fc1.weight", "fc1.bias", "fc2.weight"):
            made[f"blocks.{i}.{part}"] = models[source][f"blocks.{(places or range(4))[i]}.{part}"]
    return made


def test_every_block_of_a_tuned_hybrid_is_traced_to_its_origin() -> None:
    models = strangers(5)
    sources = ["m3", "m1", "m4", "m2"]
    hybrid = builders.tune(mixed(models, sources), 7, moved=0.4)
    found = {o.block: o for o in origins(parts("hybrid", hybrid), [parts(n, w) for n, w in models.items()])}
    assert [found[f"blocks.{i}"].model for i in range(4)] == sources
    assert found["stem"].model == "m0" and found["head"].model == "m0"
    assert all(o.probability > 0.95 for name, o in found.items() if name != "norm")


def test_models_of_unequal_depth_are_compared_where_both_were_read() -> None:
    """Of a deeper model fewer rows of each tensor are read, since the budget is the model's."""
    shapes = {f"blocks.{i}.fc.weight": (64, 32) for i in range(9)} | {
        "embed_tokens.weight": (96, 32),
        "norm.bias": (512,),
    }
    deep = builders.start(1, shapes)
    shallow = {n: v for n, v in builders.start(2, shapes).items() if not n.startswith("blocks") or n[7] in "012"}
    hybrid = {**shallow, "blocks.1.fc.weight": deep["blocks.7.fc.weight"]}
    for model, others in ((hybrid, (shallow, deep)), (deep, (hybrid, shallow))):
        given = [parts(f"m{i}", w, budget=4_000) for i, w in enumerate(others)]
        found = {o.block: o for o in origins(parts("model", model, budget=4_000), given)}
        if model is hybrid:
            assert (found["blocks.1"].model, found["blocks.1"].origin_block) == ("m1", "blocks.7")
            assert found["blocks.0"].model == found["blocks.2"].model == "m0"
        else:
            assert (found["blocks.7"].model, found["blocks.7"].origin_block) == ("m0", "blocks.1")


def test_prefixes_and_places_do_not_matter() -> None:
    models = strangers(3)
    sources, places = ["m2", "m0", "m1", "m1"], [1, 3, 0, 2]
    hybrid = builders.tune(mixed(models, sources, places), 7)
    found = {
        o.block: o for o in origins(parts("hybrid", hybrid, "tower.encoder."), [parts(n, w) for n, w in models.items()])
    }
    assert [(found[f"blocks.{i}"].model, found[f"blocks.{i}"].origin_block) for i in range(4)] == [
        (source, f"blocks.{place}") for source, place in zip(sources, places, strict=True)
    ]


def test_parent_child_and_sibling_of_the_origin_are_told_from_it() -> None:
    root = builders.start(1, SHAPES)
    models = {"root": root, "a": builders.tune(root, 2), "b": builders.tune(root, 3)}
    models["aa"] = builders.tune(models["a"], 4)
    sources = ["a", "root", "aa", "b"]
    hybrid = builders.tune(mixed(models, sources), 5)
    found = {o.block: o for o in origins(parts("hybrid", hybrid), [parts(n, w) for n, w in models.items()])}
    assert [found[f"blocks.{i}"].model for i in range(4)] == sources


def test_a_block_from_elsewhere_comes_from_none() -> None:
    models = strangers(4)
    foreign = models.pop("m3")
    hybrid = builders.tune(mixed({**models, "m3": foreign}, ["m0", "m3", "m1", "m2"]), 6)
    found = {o.block: o for o in origins(parts("hybrid", hybrid), [parts(n, w) for n, w in models.items()])}
    assert found["blocks.1"].outcome is BlockOutcome.NONE and found["blocks.1"].model is None
    assert found["blocks.0"].model == "m0"
    assert found["norm"].outcome is not BlockOutcome.NONE  # vectors tell too little to deny an origin


def test_equal_candidates_are_a_tie_and_never_settled_by_a_coin() -> None:
    models = strangers(2)
    models["copy"] = models["m0"]
    found = origins(parts("hybrid", models["m0"]), [parts(n, w) for n, w in models.items()])
    first = next(o for o in found if o.block == "blocks.0")
    assert first.outcome is BlockOutcome.UNDECIDED
    assert {c.model for c in first.candidates} == {"m0", "copy"}
    assert first.candidates[0].probability == pytest.approx(first.candidates[1].probability)


def test_a_sample_of_rows_answers_like_all_of_them() -> None:
    models = strangers(4)
    sources = ["m3", "m1", "m0", "m2"]
    hybrid = builders.tune(mixed(models, sources), 7)
    found = origins(parts("h", hybrid, budget=3000), [parts(n, w, budget=3000) for n, w in models.items()])
    assert [o.model for o in found if o.block.startswith("blocks.")] == sources
    assert all(o.values < 32 * 24 * 2 for o in found)


def test_models_built_otherwise_cannot_be_compared() -> None:
    other = builders.start(1, {"layers.0.weight": (8, 8)})
    with pytest.raises(NothingAlike, match="no block of one is built like"):
        origins(parts("one", builders.start(2, SHAPES)), [parts("other", other)])


@pytest.mark.slow
def test_the_command_prints_a_table_and_json_and_takes_a_folder_of_candidates(tmp_path: Path) -> None:
    models = strangers(3)
    sources = ["m2", "m0", "m1", "m1"]
    hybrid = builders.tune(mixed(models, sources), 7)
    builders.write(tmp_path / "parts", models)
    builders.write(
        tmp_path, {"hybrid": hybrid, "broken": {**hybrid, "stem.weight": np.full((24, 12), np.nan, np.float32)}}
    )
    lineage = command_at(tmp_path)
    told = lineage("origins", tmp_path / "hybrid.safetensors", tmp_path / "parts", "--json").json
    assert told["candidates"] == ["m0", "m1", "m2"]
    assert [b["origin"] for b in told["blocks"] if b["block"].startswith("blocks.")] == sources
    assert all(0 <= b["probability"] <= 1 and b["values_compared"] > 0 for b in told["blocks"])
    table = lineage("origins", tmp_path / "hybrid.safetensors", tmp_path / "parts").stdout
    assert "blocks.0" in table and "blocks: m" in table
    assert "shared with" in table and "not which model came first" in table
    broken = lineage("origins", tmp_path / "broken.safetensors", tmp_path / "parts")
    assert broken.code == 4 and "NaN" in broken.stderr
    each = [tmp_path / "parts" / f"{name}.safetensors" for name in models]
    assert lineage("origins", tmp_path / "hybrid.safetensors", *each, "--json").json["blocks"] == told["blocks"]
    assert lineage("origins", tmp_path / "hybrid.safetensors", each[0], each[0]).code == 2
    assert lineage("origins", tmp_path / "hybrid.safetensors").code == 2
    assert lineage("origins", tmp_path / "hybrid.safetensors", tmp_path / "nowhere").code == 4
