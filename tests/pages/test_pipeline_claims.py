"""The card of a diffusion pipeline is a claim about its main part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lineage.pages.scan_source import scanned
from lineage.report.folder import cards_under
from tests.builders import start, write

PARTS = ("honest/unet", "honest/vae", "liar/unet", "base/unet", "base/vae", "other/unet")


def document() -> dict[str, Any]:
    models = [{"id": i, "signature": i.rpartition("/")[2], "digest": i} for i in PARTS]
    edges = [("honest/unet", "base/unet"), ("liar/unet", "base/unet")]
    found = {"relation": "FINE_TUNED_FROM", "probability": 0.98, "decided_by": [], "evidence": {"reason": ""}}
    apart = [{"model": "other/unet", "reason": "related to none"}]
    return {
        "models": models,
        "edges": [{"child": child, "parent": parent, **found} for child, parent in edges],
        "undecided": [],
        "unreadable": [],
        "no_relatives": apart,
    }


def test_the_card_of_a_pipeline_is_read_for_its_main_part(tmp_path: Path) -> None:
    for part in PARTS:
        write(tmp_path / part, {"diffusion_pytorch_model": start(len(part))})
        (tmp_path / part / "config.json").write_text("{}")
        (tmp_path / part).with_name("model_index.json").write_text("{}")
    for name, base in (("honest", "acme/base"), ("liar", "other")):
        (tmp_path / name / "README.md").write_text(f"---\nbase_model: {base}\nlicense: mit\n---\n")
    cards = cards_under(tmp_path)
    assert not cards["honest/vae"].claims and cards["honest/unet"].license == "mit"
    members = scanned(document(), cards).members
    assert {name: members[name].outcome for name in ("honest/unet", "liar/unet", "honest/vae")} == {
        "honest/unet": "agree",
        "liar/unet": "contradicts",
        "honest/vae": None,
    }


def test_a_pipeline_that_is_not_there_is_no_other_one(tmp_path: Path) -> None:
    write(tmp_path / "only" / "unet", {"diffusion_pytorch_model": start(1)})
    (tmp_path / "only" / "unet" / "config.json").write_text("{}")
    (tmp_path / "only" / "model_index.json").write_text("{}")
    (tmp_path / "only" / "README.md").write_text("---\nbase_model: absent\n---\n")
    alone = {
        "models": [{"id": "only/unet", "signature": "unet", "digest": "d"}],
        "edges": [],
        "undecided": [],
        "unreadable": [],
    }
    member = scanned(alone, cards_under(tmp_path)).members["only/unet"]
    assert member.outcome == "cannot tell" and "not in this folder" in (member.outcome_reason or "")
