"""An edge of one part is withdrawn where another part of both models speaks against it."""

from dataclasses import dataclass, replace

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.denied_parts import without_denied
from lineage.detect.part_reasons import naming_parts
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation


@dataclass(frozen=True)
class Member:
    model: str
    parts: tuple[str, ...]
    values: int


def encoder(model: str, decision: Decision | None = None) -> tuple[Member, Decision]:
    return Member(model, ("encoder",), 30), decision or Decision(model, AnswerKind.ROOT, 0.5)


def decoder(model: str, *candidates: str, values: int = 40, **evidence: str) -> tuple[Member, Decision]:
    answer = AnswerKind.UNDECIDED if candidates else AnswerKind.ROOT
    named = tuple(Candidate(name, 0.3) for name in candidates)
    return Member(model, ("decoder",), values), Decision(model, answer, 0.3, candidates=named, evidence=evidence)


COMES = Decision(
    "child", AnswerKind.PARENT, 0.9, "sibling", Relation.FINE_TUNED_FROM, (Candidate("sibling", 0.9),), ("growth",)
)


def asserted(*decoders: tuple[Member, Decision], edge: Decision = COMES) -> str | None:
    (encoders, _) = without_denied([[encoder("child", edge), encoder("sibling")], list(decoders)])
    assert encoders[0][1].parent or "sibling" in str(encoders[0][1].reason)
    return encoders[0][1].parent


def test_a_sibling_with_the_encoder_of_the_base_is_no_parent_where_the_decoder_comes_from_elsewhere() -> None:
    assert asserted(decoder("child", "other"), decoder("sibling"), decoder("other")) is None


def test_what_the_other_part_leaves_open_is_asserted_from_one_part() -> None:
    assert asserted(decoder("child", "other", "sibling"), decoder("sibling"), decoder("other")) == "sibling"
    assert asserted(decoder("child"), decoder("sibling"), decoder("other")) == "sibling"  # no candidate at all


def test_a_parent_without_the_other_part_or_with_one_of_another_size_is_not_denied() -> None:
    assert asserted(decoder("child", "other"), decoder("other")) == "sibling"
    assert asserted(decoder("child", "other"), decoder("sibling", values=20), decoder("other")) == "sibling"


def test_a_parent_that_is_one_of_the_candidates_in_the_other_part_is_not_denied() -> None:
    same = decoder("sibling", "base", equal_to="base")
    assert asserted(decoder("child", "base"), same, decoder("base")) == "sibling"


def test_a_small_part_and_a_copy_are_left_alone() -> None:
    small = [decoder(name, *more, values=9) for name, *more in (("child", "other"), ("sibling",), ("other",))]
    assert asserted(*small) == "sibling"
    copy = replace(COMES, relation=Relation.COPY_OF)
    assert asserted(decoder("child", "other"), decoder("sibling"), decoder("other"), edge=copy) == "sibling"


def test_sentences_about_equal_bodies_name_the_part_that_is_equal() -> None:
    equals = Reason("grew", {"z": 4.0}, {"parent": "base"}).and_then(
        Reason("equals_of_parent", models={"parent": "base", "models": ("sibling",)})
    )
    whole = Decision("whole", AnswerKind.UNDECIDED, 0.5, reason=Reason("equal_body"))
    alone = replace(COMES, model="alone", parent="base", reason=equals)
    encoders = [encoder("whole", whole), encoder("base"), encoder("sibling"), (Member("alone", ("",), 30), alone)]
    decoders = [decoder("whole"), decoder("base"), decoder("sibling")]
    told = {m.model: str(d.reason) for m, d in naming_parts([encoders, decoders])[0]}
    assert told["whole"].startswith("every weight of its part encoder is equal")
    assert "the part encoder of base has the same weights as that of sibling" in told["alone"]
    (same,) = naming_parts([encoders])
    assert str(same[0][1].reason).startswith("every weight of its body is equal")  # no model has another part
