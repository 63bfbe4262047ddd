"""Tables, trees and moments for people: whole in a pipe, folded on a terminal, one vocabulary, short identities, relative times."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lineage.commands import main
from lineage.commands.crawl_options import BadList, read_names
from lineage.commands.moments import moment_of
from lineage.graphdb.schema import Declaration, Relation, Run
from lineage.graphdb.store import open_store
from lineage.queries.display import print_table
from tests.graphs import a_model, an_edge

pytestmark = pytest.mark.slow

LONG = "acme-research-laboratories/Mistral-Small-3.2-24B-Instruct-2506-customer-support-continued-pretraining-v17"
HOSTILE = "org/evil\x1b[31m\x1b]0;owned\x07\nsecond line\u202e"
Ask = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """a -> b (a long name) -> c (a hostile one), d a copy of c; e only claims a."""
    url = str(tmp_path / "store")
    with open_store(url) as opened:
        names = {"a": "org/a", "b": LONG, "c": HOSTILE, "d": "org/d", "e": "org/e"}
        same = {"c": "f" * 64, "d": "f" * 64}
        opened.upsert_models([a_model(k, repo_id=v, weights_digest=same.get(k, k * 64)) for k, v in names.items()])
        opened.record_run(Run("0123456789abcdef" * 2, "sync", datetime.now(UTC) - timedelta(minutes=5)))
        edges = [an_edge("b", "a", 1.0), an_edge("c", "b", 0.9), an_edge("d", "c", 1.0, kind=Relation.COPY_OF)]
        opened.replace_edges([f"id-{k}" for k in names], edges, [], "0123456789abcdef" * 2)
        opened.upsert_declarations(["id-e"], [Declaration("id-e", "org/a", "finetune", "card")])
        opened.link_declarations()
    return url


@pytest.fixture
def piped(store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """What a command prints into a pipe, whatever the width of the terminal that it was started from."""
    monkeypatch.setenv("COLUMNS", "20")

    def ask(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--store", store])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return ask


@pytest.fixture
def on_terminal(store: str) -> Callable[..., list[str]]:
    """What a command prints on a terminal of some width."""

    def ask(columns: int, *arguments: str) -> list[str]:
        screen, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
        process = subprocess.Popen(
            [sys.executable, "-m", "lineage", *arguments, "--store", store],
            stdin=end, stdout=end, stderr=end, env=environment,
        )  # fmt: skip
        os.close(end)
        text = b""
        with suppress(OSError):  # the end of a terminal whose other side is closed
            while piece := os.read(screen, 65536):
                text += piece
        os.close(screen)
        assert process.wait() == 0
        return text.decode().replace("\r\n", "\n").splitlines()

    return ask


def plain(line: str) -> str:
    """A line without its colours."""
    from rich.text import Text

    return Text.from_ansi(line).plain


def test_nothing_is_cut_or_broken_in_a_pipe(piped: Ask) -> None:
    tree = piped("tree", "org/a").splitlines()
    assert tree[0] == "org/a" and tree[1] == f"└── {LONG}  fine-tuned >0.99" and len(tree) == 4
    rows = piped("descendants", "org/a").splitlines()
    assert len(rows) == 4 and LONG in rows[1] and rows[1].endswith("fine-tuned  >0.99")
    path = piped("path", "org/d", "org/a").splitlines()
    assert len(path) == 4 and path[2] == f"  is from {LONG}  fine-tuned 0.90"


def test_hostile_names_stay_one_line_and_send_nothing_to_the_terminal(
    piped: Ask, on_terminal: Callable[..., list[str]]
) -> None:
    shown = "org/evil\\x1b[31m\\x1b]0;owned\\x07\\nsecond line\\u202e"
    for command in (
        ("tree", "org/a"),
        ("descendants", "org/a"),
        ("path", "org/d", "org/a"),
        ("blast-radius", "org/a"),
        ("leaves",),
    ):
        out = piped(*command)
        assert shown in out and not set("\x1b\x07\u202e") & set(out), command
    for command in (("tree", "org/a"), ("leaves",)):
        seen = "\n".join(on_terminal(400, *command))
        assert shown in "".join(plain(line) for line in seen.splitlines()), command
        assert "\x1b]0" not in seen and "\x1b[31m\\" not in seen and "\x07" not in seen, command


def test_a_narrow_terminal_folds_and_loses_nothing(on_terminal: Callable[..., list[str]]) -> None:
    asked: list[tuple[int, tuple[str, ...]]] = [
        (60, ("tree", "org/a")),
        (60, ("changes", "7d")),
        (60, ("runs",)),
        (100, ("descendants", "org/a")),
        (100, ("copies",)),
    ]
    for columns, command in asked:
        lines = [plain(line) for line in on_terminal(columns, *command)]
        assert lines, command
        joined = "".join("".join(line.split()) for line in lines).replace("│", "").replace("└──", "")
        if command[0] in ("tree", "descendants", "changes"):
            assert LONG in joined and "fine-tuned" in joined, (columns, command)
        parts = {part for line in lines for part in line.split()}
        for word in ("superseded", "relation", "probability", "command", "started"):
            assert not {word[:length] for length in range(4, len(word))} & parts, (columns, command)


def test_tables_speak_words_and_short_identities(piped: Ask) -> None:
    changes = piped("changes", "1h").splitlines()
    assert changes[0].split() == ["changed", "(UTC)", "change", "child", "relation", "parent", "probability", "run"]
    assert {"fine-tuned", "copy"} <= set(" ".join(changes).split()) and changes[1].endswith("  01234567")
    assert f"{datetime.now(UTC):%Y-%m-%d} " in changes[1] and "+00:00" not in changes[1]
    copies = piped("copies").splitlines()
    assert copies[0].split()[-1] == "digest" and copies[1].endswith("  " + "f" * 12)
    csv = piped("changes", "1h", "--csv").splitlines()
    assert csv[0] == "changed_at,change,child,kind,parent,probability,run_id" and "FINE_TUNED_FROM" in csv[1]


def test_what_changed_is_asked_since_the_last_pass_where_no_moment_is_given(piped: Ask) -> None:
    assert len(piped("changes").splitlines()) == 4
    assert piped("changes", "now") == ""


def test_roots_follow_the_relations_that_are_asked_for(
    piped: Ask, capsys: pytest.CaptureFixture[str], store: str
) -> None:
    assert piped("roots", "--kind", "DECLARES_BASE").splitlines() == ["model  children", "org/a  1"]
    assert piped("roots", "--kind", "POSSIBLE_PARENT") == ""
    with pytest.raises(SystemExit):
        main(["roots", "--kind", "POSSIBLE_PARENT", "--store", store])
    assert capsys.readouterr().err == "no model has a child over such edges\n"


NOW = datetime(2026, 11, 26, 13, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("6h", NOW - timedelta(hours=6)),
        ("90 minutes ago", NOW - timedelta(minutes=90)),
        ("2 weeks", NOW - timedelta(weeks=2)),
        ("now", NOW),
        ("Today", datetime(2026, 11, 26, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 25, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T13:31", datetime(2026, 11, 1, 13, 31, tzinfo=UTC)),
        ("2026-11-01 13:31:05", datetime(2026, 11, 1, 13, 31, 5, tzinfo=UTC)),
        ("2026-11-01T13:31:05Z", datetime(2026, 11, 1, 13, 31, 5, tzinfo=UTC)),
        ("2026-11-01T13:31:05+02:00", datetime(2026, 11, 1, 11, 31, 5, tzinfo=UTC)),
    ],
)
def test_moments_are_dates_times_and_times_ago(text: str, moment: datetime) -> None:
    assert moment_of(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "7", "d", "-7d", "999999w", "2026", "2026-13-01", "0000-00-00", "7d ago now", "１d"]
)
def test_what_is_no_moment_is_none(text: str) -> None:
    assert moment_of(text, NOW) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_names_may_come_from_a_browser_and_from_windows(tmp_path: Path, encoding: str) -> None:
    lines = [
        "acme/a",
        "https://huggingface.co/acme/b/tree/main # a copy",
        "",
        "# nothing",
        "acme/c@v1",
        "http://hub.local:80/acme/d#usage",
        "acme/a",
    ]
    (tmp_path / "list").write_bytes("\r\n".join(lines).encode(encoding))
    assert read_names(tmp_path / "list", "http://hub.local:80") == ("acme/a", "acme/b@main", "acme/c@v1", "acme/d")


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xff\xfa\x00")
    with pytest.raises(BadList):
        read_names(tmp_path / "list")


def test_cells_are_never_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["[bold]x[/bold]", "y"], [["[red]a[/red]", ""], ["日本", "b"]])
    assert capsys.readouterr().out.splitlines() == ["[bold]x[/bold]  y", "[red]a[/red]", "日本            b"]


def test_one_field_has_one_name_in_every_json_output() -> None:
    """Former names stay; `model` and `relation` are beside them."""
    from lineage.commands.tables import with_common_names

    row = {"repo_id": "org/a", "depth": 1, "kind": "COPY_OF", "probability": 0.9}
    assert with_common_names(row) == {**row, "model": "org/a", "relation": "COPY_OF"}
    assert with_common_names({"model": "org/a", "relation": "x"}) == {"model": "org/a", "relation": "x"}


def test_counts_are_numbers_and_moments_are_beside_them(piped: Ask, store: str) -> None:
    *table, _, last, digest = piped("graph", "stats", "--digest").splitlines()
    rows = [line.rsplit(maxsplit=1) for line in table[1:]]
    assert all(count.isdigit() for _, count in rows), rows
    assert ["models, sketched", "5"] in [[name.strip(), count] for name, count in rows]
    assert ["FINE_TUNED_FROM (fine-tuned)", "2"] in [[name.strip(), count] for name, count in rows]
    assert re.fullmatch(rf"{re.escape(store)}; last pass: \d{{4}}-\d\d-\d\d \d\d:\d\d UTC", last)
    assert re.fullmatch(r"digest [0-9a-f]{64}", digest)


def test_an_option_without_effect_is_wrong_usage(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["roots", "--depth", "2", "--store", store])
    assert ended.value.code == 2 and "--depth" in capsys.readouterr().err


def test_an_agreement_may_be_written_as_people_write_it(piped: Ask) -> None:
    for said, meant in (("cannot-tell", "cannot tell"), ("undeclared", "missing"), ("agrees", "agree")):
        assert piped("declared", "--only", said, "--json") == piped("declared", "--only", meant, "--json")
    assert {row["agreement"] for row in json.loads(piped("declared", "--only", "undeclared", "--json"))} == {"missing"}


def test_language_models_are_compared_in_a_table_like_all_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "answers.json"
    said = {"a": ["yes", "no"], "org/a-much-longer-name\x1b[31m": ["yes", "no"]}
    answers.write_text(json.dumps({name: {"prompt": texts} for name, texts in said.items()}))
    with pytest.raises(SystemExit):
        main(["phylolm", str(answers)])
    heading, first, second, *_ = capsys.readouterr().out.splitlines()
    for line, (name, nearest) in ((first, [*said]), (second, [*said][::-1])):
        shown = [text.replace("\x1b", "\\x1b") for text in (name, nearest)]
        assert (
            line
            == f"{shown[0]:<{heading.index('most similar')}}{shown[1]:<{heading.index('similarity') - heading.index('most similar')}}1.000"
        )
