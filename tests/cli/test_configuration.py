"""The file of options: where it is looked for, what counts before it, and what is wrong with it in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lineage.commands import main
from lineage.graphdb.store import open_store
from tests.graphs import a_model, an_edge

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in `tmp_path`/work/deep; `tmp_path`/work/store holds b from a with 0.6, c from a with 0.9."""
    work = tmp_path / "work"
    (work / "deep").mkdir(parents=True)
    monkeypatch.chdir(work / "deep")
    for name in ("LINEAGE_STORE", "LINEAGE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with open_store(str(work / "store")) as store:
        store.upsert_models([a_model(name) for name in "abc"])
        store.replace_edges(["id-b", "id-c"], [an_edge("b", "a", 0.6), an_edge("c", "a", 0.9)], [], "run")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def children(out: str) -> int:
    return len(out.splitlines()) - 1


def test_options_come_from_the_nearest_file_and_paths_are_relative_to_it(run: Run, tmp_path: Path) -> None:
    assert run("descendants", "org/a")[0] == 1  # the default store in a home where nothing is
    (tmp_path / "work" / "lineage.toml").write_text('store = "./store"\n')
    assert children(run("descendants", "org/a")[1]) == 2
    (tmp_path / "work" / "lineage.toml").write_text('store = "store"\n[descendants]\nmin-probability = 0.8\n')
    assert children(run("descendants", "org/a")[1]) == 1
    (tmp_path / "work" / "deep" / "lineage.toml").write_text('store = "../store"\n')
    assert children(run("descendants", "org/a")[1]) == 2


def test_the_table_of_pyproject_and_groups_of_commands_count(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work" / "pyproject.toml").write_text(
        '[project]\nname = "x"\n[tool.lineage]\nstore = "store"\n[tool.lineage.graph.export]\nformat = "mermaid"\n'
    )
    code, out, _ = run("graph", "export")
    assert code == 0 and out.startswith("graph BT")
    (tmp_path / "work" / "deep" / "pyproject.toml").write_text("[tool.other]\nx = 1\n")  # says nothing to us
    assert run("graph", "export")[1].startswith("graph BT")


def test_the_command_line_and_the_environment_count_first(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "lineage.toml").write_text('store = "nowhere"\n[descendants]\nmin-probability = 0.8\n')
    store = str(tmp_path / "work" / "store")
    assert children(run("descendants", "org/a", "--store", store, "--min-probability", "0")[1]) == 2
    monkeypatch.setenv("LINEAGE_STORE", store)
    assert children(run("descendants", "org/a")[1]) == 1


def test_a_file_may_be_named_or_lie_at_home(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "work" / "store"
    (tmp_path / "home" / ".config").mkdir(parents=True)
    (tmp_path / "home" / ".config" / "lineage.toml").write_text(f'store = "{store}"\n')
    assert run("roots")[0] == 0
    (tmp_path / "other.toml").write_text('store = "nowhere"\n')
    monkeypatch.setenv("LINEAGE_CONFIG", str(tmp_path / "other.toml"))
    assert run("roots")[0] == 1
    monkeypatch.setenv("LINEAGE_CONFIG", str(tmp_path / "none.toml"))
    code, _, err = run("roots")
    assert code == 2 and "none.toml cannot be read" in err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("store = ", "lineage.toml is not TOML"),
        ("\x00", "lineage.toml is not TOML"),
        ("colour = 1", "colour is not an option of every command"),
        ("[paint]\nx = 1", "there is no command 'paint'"),
        ("[roots]\ncolour = 1", "`lineage roots` has no option --colour"),
        ("[graph]\npaint = 1", "`lineage graph` has no command 'paint'"),
        ("[graph.export]\ncolour = 1", "`lineage graph export` has no option --colour"),
        ("[graph]\nexport = 1", "[graph.export] is not a table of options"),
        ("[roots]\nlimit = 'many'", "Invalid value"),
        ("[roots]\nlimit = [3]", "limit takes one value, not a list"),
        ("store = ['a']", "store takes one value, not a list"),
        ("[roots.limit]\nx = 1", "limit holds no value"),
        ("a = " + "[" * 5_000, "lineage.toml is not TOML"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line(run: Run, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "work" / "lineage.toml").write_text(text)
    command = ("graph", "export") if "graph" in text else ("roots",)
    code, out, err = run(*command)
    assert (code, out) == (2, "") and says in err and "Traceback" not in err, err
    assert run("--help")[0] == 0 and run("roots", "--help")[0] == 0


def test_other_spellings_of_a_command_take_its_options(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work" / "lineage.toml").write_text('store = "store"\n[licences]\ndepth = 1\n')
    assert run("licenses", "org/b")[0] == run("licences", "org/b")[0] == 0
    assert "licenses" not in run("--help")[1]


def test_one_value_of_an_option_that_may_be_repeated_needs_no_list_and_days_no_quotes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work" / "lineage.toml").write_text('store = "store"\n[sync]\nfilter = "gguf"\nsince = 2026-11-01\n')
    code, _, err = run("sync", "--folder", str(tmp_path / "nothing here"))
    assert code == 2 and err.count("Invalid value") == 1 and "Invalid value for '--folder'" in err, err
