"""What a listing says, and what it claims, in all the forms that real cards have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.crawler.listing import MalformedItem, declarations, is_safe_path, parse_item
from lineage.crawler.repo_names import is_repo_id
from lineage.graphdb.schema import Declaration


def claims(card: dict[str, Any], *tags: str, config: dict[str, Any] | None = None) -> set[tuple[str, str | None, str]]:
    return {(d.base, d.relation, d.source) for d in declarations("6", card, tags, config)}


def test_a_base_may_be_a_text_a_list_or_a_mapping() -> None:
    assert claims({"base_model": "a/b"}) == {("a/b", None, "card")}
    assert claims({"base_model": ["a/b", "c/d"]}) == {("a/b", None, "card"), ("c/d", None, "card")}
    assert claims({"base_model": {"merge": ["a/b", "c/d"]}}) == {("a/b", "merge", "card"), ("c/d", "merge", "card")}
    assert claims({"base_model": {"quantized": "a/b"}}) == {("a/b", "quantized", "card")}
    assert claims({"base_model": [{"name": "a/b"}]}) == {("a/b", None, "card")}


def test_the_relation_of_the_card_belongs_to_its_bases() -> None:
    assert claims({"base_model": "a/b", "base_model_relation": "Quantized"}) == {("a/b", "quantized", "card")}
    assert claims({"base_model": "a/b", "base_model_relation": "nephew"}) == {("a/b", None, "card")}


def test_tags_name_each_base_twice_and_it_is_one_claim() -> None:
    tags = ("base_model:a/b", "base_model:finetune:a/b", "base_model:c/d", "license:mit", "base_model:")
    assert claims({}, *tags) == {("a/b", "finetune", "tag"), ("c/d", None, "tag")}


def test_the_configuration_may_name_its_origin() -> None:
    assert claims({}, config={"_name_or_path": "/home/me/checkpoints/7"}) == {
        ("/home/me/checkpoints/7", None, "config")
    }


@pytest.mark.parametrize(
    "base", [None, 3, "", "   ", [], {}, [None, 3], {"merge": None}, "x" * 1000, "a\nb", [["a/b"]] * 2]
)
def test_what_is_no_base_is_no_claim_or_a_plain_one(base: object) -> None:
    assert claims({"base_model": base}) <= {("a/b", None, "card")}


def test_a_thousand_bases_are_cut_off() -> None:
    assert len(claims({"base_model": [f"a/b{i}" for i in range(1000)]})) == 64


def test_every_field_but_the_identity_may_be_nonsense() -> None:
    found = parse_item(
        {
            "_id": "66",
            "id": "acme/tiny",
            "sha": 7,
            "siblings": {"a": 1},
            "tags": "none",
            "cardData": [],
            "config": "x",
            "createdAt": "yesterday",
            "lastModified": 12,
            "downloads": -4,
            "gated": {},
            "disabled": "yes",
            "library_name": ["x"],
        }
    )
    assert (found.sha, found.files, found.created_at, found.downloads, found.disabled) == (
        None,
        None,
        None,
        None,
        False,
    )


def test_times_are_aware_and_in_utc() -> None:
    item = {
        "_id": "66",
        "id": "a/b",
        "createdAt": "2026-09-22T17:25:10.000Z",
        "lastModified": "2026-01-01T02:00:00+02:00",
    }
    found = parse_item(item)
    assert found.created_at == datetime(2026, 9, 22, 17, 25, 10, tzinfo=UTC)
    assert found.last_modified == datetime(2026, 1, 1, tzinfo=UTC)


def test_paths_that_lead_astray_are_not_files() -> None:
    files = [
        "model.safetensors",
        "../../etc/passwd",
        "/etc/passwd",
        "a//b",
        "a/./b",
        "a\nb",
        "unet/model.safetensors",
        "a\\b",
    ]
    item = {"_id": "66", "id": "a/b", "siblings": [{"rfilename": f} for f in files] + [{}, None, {"rfilename": 3}]}
    assert parse_item(item).files == ("model.safetensors", "unet/model.safetensors")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "_id",
    "id",
    "sha",
    "siblings",
    "tags",
    "cardData",
    "config",
    "createdAt",
    "downloads",
    "gated",
    "library_name",
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.booleans())
def test_any_item_is_a_repository_or_malformed(item: dict[str, Any], named: bool) -> None:
    if named:
        item |= {"_id": "66", "id": "acme/tiny"}
    try:
        found = parse_item(item)
    except MalformedItem:
        assert not named
        return
    assert is_repo_id(found.repo_id) and all(is_safe_path(path) for path in found.files or ())
    assert all(isinstance(claim, Declaration) and claim.base.isprintable() for claim in found.declarations)
