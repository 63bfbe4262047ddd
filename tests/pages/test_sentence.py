"""The answer of a model's page in one sentence."""

from __future__ import annotations

from lineage.pages.members import EdgeFacts, Member
from lineage.pages.sheet import sentence

FACTS = {name: Member(name, f"acme/{name}") for name in ("whole", "vision", "language")}


def edge(parent: str, part: str | None = None) -> EdgeFacts:
    return EdgeFacts("whole", parent, "FINE_TUNED_FROM", 0.9, evidence={"part": part} if part else {})


def test_an_edge_about_a_part_names_the_part() -> None:
    member = Member("whole", "acme/whole", "parent")
    assert sentence(member, [edge("language")], FACTS) == "acme/whole was fine-tuned from acme/language"
    alone = sentence(member, [edge("vision", "vision_tower")], FACTS)
    assert alone == "acme/whole was fine-tuned from acme/vision (its vision_tower)"
    both = sentence(member, [edge("language", "language_model"), edge("vision", "vision_tower")], FACTS)
    assert "acme/language (its language_model, 0.90) and acme/vision (its vision_tower, 0.90)" in both


def test_a_model_whose_largest_part_is_undecided_is_undecided_beside_the_parents_of_other_parts() -> None:
    said = sentence(Member("whole", "acme/whole", "undecided"), [edge("vision", "vision_tower")], FACTS)
    assert said == "acme/whole: its parent is undecided; its vision_tower was fine-tuned from acme/vision"
