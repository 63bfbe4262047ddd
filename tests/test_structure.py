"""What keeps the parts apart: who may import whom, what a quick command must not load, and help on everything."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from graphdb.schema import Edge, Model, Relation, Run, Status, Verdict
from graphdb.store import open_store
from lineage import COMMANDS
from tests.invocations import check, commands, invocation

ROOT = Path(__file__).parent.parent
PACKAGES = ("crawler", "detect", "graphdb", "queries")
OURS = {*PACKAGES, "lineage", "tests", "bench"}
SHARED = "graphdb.schema"  # what crosses the borders
MAY_IMPORT = {"crawler": set(), "detect": set(), "graphdb": set(), "queries": {"graphdb"}}
HEAVY = ("torch", "networkx", "huggingface_hub", "numpy", "safetensors", "apscheduler", "neo4j", "sklearn")


def library_modules() -> list[Path]:
    """Modules of the packages that do not join them: all but `cli*.py`."""
    return [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.name.startswith("cli")
    ]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in a file, also those within functions; `from a import b` as both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_library_modules_import_their_own_package_and_the_schema_only() -> None:
    modules = library_modules()
    assert len(modules) > 30
    strays = []
    for path in modules:
        package = path.relative_to(ROOT).parts[0]
        for line, name in imported(path):
            top = name.partition(".")[0]
            shared = name == SHARED or name.startswith(SHARED + ".")
            if top in OURS and top != package and not shared and top not in MAY_IMPORT[package]:
                strays.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not strays, "\n".join(strays)


def test_nothing_that_ships_imports_tests_or_benches() -> None:
    shipped = [ROOT / "lineage.py", *(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))]
    strays = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in shipped
        for line, name in imported(path)
        if name.partition(".")[0] in ("tests", "bench")
    ]
    assert not strays, "\n".join(strays)


def loaded_by(*arguments: str) -> tuple[str, set[str]]:
    """What a command prints, and the top-level names of all modules it has loaded by its end."""
    code = (
        "import contextlib, json, sys\n"
        "from lineage import main\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    main({list(arguments)!r})\n"
        "sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout, set(json.loads(done.stderr.splitlines()[-1]))


def test_help_loads_nothing_heavy() -> None:
    """All in one process, since what is loaded only grows: the first command after which a module is there has loaded it."""
    calls = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]
    code = (
        "import contextlib, io, json, sys\n"
        "from lineage import main\n"
        f"for arguments in {calls!r}:\n"
        "    printed = io.StringIO()\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(printed):\n"
        "        main(arguments)\n"
        "    loaded = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "    print(json.dumps([arguments, printed.getvalue(), loaded]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [arguments for arguments, _, _ in told] == calls
    for arguments, printed, loaded in told:
        assert printed.startswith(("Usage: ", "lineage, version ")), arguments
        assert sorted(set(loaded) & {*HEAVY, "arcadedb", "rich"}) == [], arguments


def test_who_is_parent_from_the_graph_loads_nothing_heavy(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    child, parent = (Model(f"id-{n}", f"acme/{n}", Status.SKETCHED, signature="s") for n in ("child", "parent"))
    edge = Edge(child.hub_id, parent.hub_id, Relation.FINE_TUNED_FROM, 0.97, "lineage", "1", ("growth",))
    with open_store(str(tmp_path)) as store:
        store.upsert_models([child, parent])
        store.record_run(Run("run", "sync", now, now))
        store.replace_edges([child.hub_id], [edge], [Verdict(child.hub_id, "parent", "", 0.97)], "run")
    printed, loaded = loaded_by("who-is-parent", "acme/child", "--json", "--store", str(tmp_path))
    assert json.loads(printed)["parent"] == "acme/parent"
    assert sorted(loaded & set(HEAVY) - {"numpy"}) == []  # numpy is the engine's own import


@pytest.mark.parametrize("name, command", list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_help_and_an_example_that_parses(name: str, command: click.Command) -> None:
    help_text = command.help or ""
    assert help_text.strip()
    examples = re.findall(rf"^.*?((?:[A-Z0-9_]+=\S+ )*lineage {name}\b.*)$", help_text, re.MULTILINE)
    assert examples, f"no example in the help of {name}"
    for example in examples:
        words = invocation(example)
        assert words is not None
        check(words)


@pytest.mark.parametrize("name, command", list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_has_help_and_every_answer_json(name: str, command: click.Command) -> None:
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [o.opts for o in options if not o.hidden and not (o.help or "").strip()] == []
    accepted = {word for option in options for word in option.opts}
    assert {"--store", "--sketches", "--endpoint", "--verbose"} <= accepted
    if name not in (
        "graph serve",
        "graph export",
    ):  # one answers nothing, the other writes the format that is asked for
        assert "--json" in accepted


def test_every_module_says_what_it_is_for() -> None:
    shipped = [
        ROOT / "lineage.py",
        *(p for p in library_modules() if p.name != "__init__.py"),
        *(ROOT / "bench").rglob("*.py"),
    ]
    silent = [
        str(p.relative_to(ROOT))
        for p in shipped
        if p.stat().st_size and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert not silent
