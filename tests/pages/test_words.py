"""Names and numbers as people read them; nothing in a name stays hidden."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from lineage.graphdb.schema import counted as count
from lineage.pages.words import duration, percent, shortened, split_name, visible


@given(st.text(max_size=400))
def test_what_is_shown_holds_no_control_format_or_direction_character(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(c)[0] not in "CZ" or c == " " for c in shown)
    assert len(shown) <= 300 * 10


def test_code_points_are_named() -> None:
    assert visible("a\u202eb\x00c") == "a\\u{202e}b\\u{0}c"
    assert visible("Modell-ß/模型 2") == "Modell-ß/模型 2"


def test_names_are_split_and_cut() -> None:
    assert split_name("org/name/part") == ("org/", "name/part")
    assert split_name("/a/path") == ("", "/a/path")
    assert shortened("abcdefghij", 5) == "ab…ij"


def test_numbers_and_times() -> None:
    assert (count(1, "model"), count(5000, "model")) == ("1 model", "5,000 models")
    assert (percent(1.0), percent(None)) == (">0.99", "–")
    assert (duration(4.2), duration(600), duration(12_000)) == ("4 s", "10 min", "3 h 20 min")
