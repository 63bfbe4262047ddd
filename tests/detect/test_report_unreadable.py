"""Files that are not read: one line each, and one for many that are alike."""

from __future__ import annotations

from lineage.detect.report import Scan, as_tree


def test_many_files_alike_get_one_line() -> None:
    unreadable = {f"models/x{i}.bin": f"x{i}.bin: no zip archive" for i in range(5)} | {
        "y.bin": "y.bin: no zip archive"
    }
    lines = as_tree(Scan([], [], unreadable))
    assert lines[:2] == [
        "models/*.bin, 5 files   (not read: no zip archive)",
        "y.bin   (not read: y.bin: no zip archive)",
    ]
    few = dict(list(unreadable.items())[:2])
    assert [line.partition(" ")[0] for line in as_tree(Scan([], [], few))[:2]] == list(few)
