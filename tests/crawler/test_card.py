"""Front matter of cards: the fields that are read, and strangers' tricks that must cost nothing."""

from __future__ import annotations

import time

import pytest

from lineage.crawler.card import KEPT_NODES, front_matter
from lineage.crawler.listing import declarations, declared_license

SECONDS = 5.0  # ours take under one; the product's old reader took minutes


def card(matter: str) -> str:
    return f"---\n{matter}\n---\n# A model\n"


def bases(matter: str) -> set[str]:
    return {claim.base for claim in declarations("child", front_matter(card(matter)))}


@pytest.mark.parametrize(
    ("matter", "expected"),
    [
        ("base_model: acme/a", {"acme/a"}),
        ("base_model:\n- acme/a\n- acme/b", {"acme/a", "acme/b"}),
        ("base_model:\n  finetune: acme/a", {"acme/a"}),
        ("{base_model: [acme/a, null, 3]}", {"acme/a"}),
        ("base: &b acme/a\nbase_model: *b", {"acme/a"}),
        ("base_model: null", set()),
        ("base_model: 3", set()),
        ("base_model: 2020-01-01", set()),
        ("base_model: 'null'", {"null"}),
        ("- base_model: acme/a", set()),
    ],
)
def test_base_models_are_read_however_they_are_written(matter: str, expected: set[str]) -> None:
    assert bases(matter) == expected


@pytest.mark.parametrize("before", ["", "\ufeff", "\n", "\r\n\r\n"])
def test_a_mark_or_blank_lines_before_the_front_matter_do_not_hide_it(before: str) -> None:
    assert front_matter(before + card("license: mit").replace("\n", "\r\n")) == {"license": "mit"}


def test_a_card_without_front_matter_says_nothing() -> None:
    assert front_matter("# A model\n---\nlicense: mit\n---\n") == {}
    assert front_matter("") == {}


NUMBER = ":".join(["59"] * 20_000)
LETTERS = list(zip("abcdefghij", "bcdefghijk", strict=True))
HOSTILE = {
    "a list named ten thousand times": "a: &a [" + ",".join(["x"] * 12_000) + "]\nbase_model: [" + ",".join(["*a"] * 10_000) + "]",
    "a mapping of aliases": "a: &a {" + ",".join(f"k{i}: x" for i in range(5_000)) + "}\nbase_model: [" + ",".join(["*a"] * 5_000) + "]",
    "a billion laughs": "a: &a [x,x,x,x,x,x,x,x]\n" + "\n".join(
        f"{b}: &{b} [" + ",".join([f"*{a}"] * 8) + "]" for a, b in LETTERS) + "\nbase_model: *k",
    "merges of merges":
        "a: &a {x: y}\n" + "\n".join(
        f"{b}: &{b}\n  <<: [" + ",".join([f"*{a}"] * 4) + "]" for a, b in LETTERS) + "\nbase_model: *k",
    "a list that holds itself": "base_model: &a [*a, *a, *a, *a]",
    "lists in lists": "base_model: " + "[" * 30_000,
    "mappings in mappings": "base_model: " + "{a: " * 15_000,
    "a number in base sixty": f"base_model: {NUMBER}",
    "a float in base sixty": f"base_model: {NUMBER}.5",
    "a date before the calendar": "base_model: 0001-01-01T00:00:00+23:59",
    "a text of a megabyte": "base_model: " + "x" * 1_000_000,
    "fields of a megabyte": "license: mit\n" + "\n".join(f"k{i}: {'v' * 1000}" for i in range(1_000)),
    "a megabyte of bases": "base_model:\n" + "\n".join(f"- acme/m{i}" for i in range(60_000)),
    "an endless quote": 'base_model: "' + "\\x41" * 15_000,
    "tags of python": "base_model: !!python/object/apply:os.system ['true']",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
def test_no_card_takes_long_or_raises(what: str) -> None:
    begun = time.process_time()
    fields = front_matter(card(HOSTILE[what]))
    claims = list(declarations("child", fields))
    declared_license(fields, ())
    assert time.process_time() - begun < SECONDS
    assert len(claims) <= 64 and len(str(fields)) < 3_000 * KEPT_NODES


def test_a_card_with_long_tables_of_results_still_names_its_base() -> None:
    results = "model-index:\n- name: x\n  results:\n" + "\n".join(f"  - task: {'t' * 90}{i}" for i in range(3_000))
    matter = f"tags:\n- mteb\n{results}\nbase_model:\n- acme/a\nlicense: mit\nlanguage: en"
    assert len(matter) > 64 * 1024
    assert front_matter(card(matter)) == {"base_model": ["acme/a"], "license": "mit"}


def test_several_licences_are_all_kept() -> None:
    assert declared_license(front_matter(card("license: [mit, cc-by-nc-4.0]")), ()) == "mit, cc-by-nc-4.0"
    assert declared_license({}, ("license:mit", "license:apache-2.0")) == "mit, apache-2.0"
    assert declared_license({"license": [None, 3, "mit", "mit"]}, ()) == "mit"


def test_a_licence_of_its_own_is_known_by_its_name() -> None:
    assert declared_license(front_matter(card("license: other\nlicense_name: acme-terms")), ()) == "acme-terms"
    assert declared_license({"license": "other"}, ()) == "other"
    assert declared_license({"license": "mit", "license_name": "acme-terms"}, ()) == "mit"
