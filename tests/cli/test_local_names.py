"""Models on disk by names that people can read and type: relative to the folder that they share, and by the end of their path."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save

from lineage.crawler.formats.registry import WEIGHT_SUFFIXES
from lineage.graphdb.schema import Declaration
from lineage.graphdb.store import open_store
from lineage.queries.local_paths import shortened
from lineage.queries.resolve import FILE_ENDINGS
from tests.builders import three_generations
from tests.cli.command import Command
from tests.cli.world import card
from tests.graphs import a_model

pytestmark = pytest.mark.slow


@pytest.fixture
def crawled(offline: Command, tmp_path: Path) -> Command:
    """A folder of checkpoints in the graph; two of its models have folders of one name."""
    models, _ = three_generations()
    for place, name in {
        "org/a": "a",
        "run1/last": "b",
        "run1/tuned/last": "ba",
        "run2/best": "d",
        "run3/first": "c",
    }.items():
        folder = tmp_path / "all" / place
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(save(models[name]))
        (folder / "README.md").write_bytes(card(None))
    assert offline("sync", "--folder", tmp_path / "all").code == 0
    return offline


def test_people_read_paths_relative_to_the_folder_that_all_models_share(crawled: Command, tmp_path: Path) -> None:
    under = f"models on disk are named by their path under {tmp_path / 'all'}"
    tree = crawled("tree", tmp_path / "all" / "org" / "a")
    assert tree.told == [under] and str(tmp_path) not in tree.stdout
    assert tree.stdout.splitlines()[0] == "org/a" and "── run1/last  fine-tuned" in tree.stdout
    for question in (("roots",), ("leaves",), ("ancestors", "tuned/last"), ("declared",), ("blast-radius", "org/a")):
        done = crawled(*question)
        assert done.code == 0 and str(tmp_path) not in done.stdout and len(done.told) == 1, done
    mermaid = crawled("tree", "org/a", "--format", "mermaid")
    assert '["run1/last"]' in mermaid.stdout
    path = crawled("path", "tuned/last", "org/a")
    assert path.stdout.splitlines()[0] == "run1/tuned/last"
    parent = crawled("who-is-parent", tmp_path / "all" / "run2" / "best")
    assert parent.stdout.startswith("run2/best was fine-tuned from org/a (probability ")


def test_a_path_that_only_a_card_names_is_no_model_on_disk(offline: Command, tmp_path: Path) -> None:
    store = offline.environment["LINEAGE_STORE"]
    with open_store(store) as graph:
        graph.upsert_models([a_model("m")])
        graph.upsert_declarations(["id-m"], [Declaration("id-m", f"{tmp_path}/base/llama", None, "config")])
    found = offline("declared")
    assert found.code == 0 and found.stderr == "" and f"{tmp_path}/base/llama is declared" in found.stdout


def test_a_reader_that_goes_away_is_no_failure_of_ours(crawled: Command) -> None:
    for question in (("declared",), ("declared", "--csv"), ("declared", "--json"), ("tree", "org/a"), ("--help",)):
        ours, theirs = os.pipe()
        os.close(ours)
        words = [sys.executable, "-m", "lineage", *question]
        whole = {**os.environ, **crawled.environment}
        ended = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, env=whole, check=False)
        os.close(theirs)
        assert ended.returncode == 128 + signal.SIGPIPE and b"rror" not in ended.stderr, (question, ended)


def test_programs_get_whole_paths(crawled: Command, tmp_path: Path) -> None:
    done = crawled("ancestors", "run2/best", "--json")
    assert [row["repo_id"] for row in done.json] == [str(tmp_path / "all" / "org" / "a")] and done.stderr == ""
    assert crawled("roots", "--csv").stdout.splitlines()[1].startswith(str(tmp_path / "all" / "org" / "a"))
    assert str(tmp_path) in crawled("cypher", "MATCH (m:Model) RETURN m.repo_id LIMIT 1").stdout


def test_the_end_of_a_path_is_enough_where_it_means_one_model(crawled: Command) -> None:
    for text in ("best", "run2/best", "all/run2/best", "tuned/last", "a"):
        assert crawled("ancestors", text, "--json").code == 0, text
    several = crawled("tree", "last")
    assert several.code == 4 and "'last' may be 2 models of the graph" in several.stderr
    assert "run1/last or " in several.stderr and "run1/tuned/last" in several.stderr
    assert crawled("tree", "un2/best").code == 4  # whole parts only
    for command in (
        ("who-is-parent", "best"),
        ("explain", "best", "a"),
        ("verify", "best"),
        ("report", "best", "-o", "-"),
    ):
        done = crawled(*command)
        assert done.code == 0 and done.stdout, (command, done)
    assert crawled("who-is-parent", "last").code == 4


def test_a_file_of_every_format_that_is_read_may_be_named_without_its_ending() -> None:
    assert set(FILE_ENDINGS) == set(WEIGHT_SUFFIXES)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["org/a", "org/b"], ["org/a", "org/b"]),
        (["/data/x/run/a", "/data/x/run/b", "org/c"], ["a", "b", "org/c"]),
        (["/data/x/run", "/data/x/run/b"], ["run", "run/b"]),
        (["/data/x/run/a"], ["run/a"]),
        (["/a", "/data/x"], ["/a", "/data/x"]),
        (["/data/a", "/data/b"], ["/data/a", "/data/b"]),
        (["/data/x y/$a", "/data/x y/b"], ["$a", "b"]),
    ],
)
def test_what_names_share_is_left_out(names: list[str], shown: list[str]) -> None:
    assert list(map(shortened(names), names)) == shown


def test_a_path_stays_whole_where_its_end_is_the_name_of_another_model() -> None:
    both = shortened(["/data/models/org/name", "org/name"])
    assert both("/data/models/org/name is a copy of org/name") == "/data/models/org/name is a copy of org/name"
    assert shortened(["/data/models/org/name", "org/other"])("/data/models/org/name") == "org/name"
