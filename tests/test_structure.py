"""What keeps the parts apart: who may import whom, what a quick command must not load, and help on everything."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import click
import networkx
import numpy as np
import pytest
from safetensors.numpy import save_file

from lineage.commands import COMMANDS, SECTIONS
from lineage.crawler.folder import one_local_model
from lineage.crawler.local_digest import local_digest
from lineage.graphdb.schema import Edge, Model, Relation, Run, Status, Verdict, local_id
from lineage.graphdb.store import open_store
from tests.invocations import check, commands, invocation

ROOT = Path(__file__).parent.parent
PARTS = (
    "crawler",
    "detect",
    "graphdb",
    "queries",
)  # folders at the top that are installed as lineage.crawler and so on
OURS = {"lineage", "tests", "bench"}
SHARED = "lineage.graphdb.schema"  # what crosses the borders
HEAVY = ("torch", "networkx", "huggingface_hub", "numpy", "safetensors", "apscheduler", "neo4j", "sklearn")


def library_modules() -> list[Path]:
    """Modules of the four parts, which do not know each other."""
    return [path for part in PARTS for path in sorted((ROOT / part).rglob("*.py"))]


def joining_modules() -> list[Path]:
    """Modules of the package that joins them, and its commands."""
    folder = ROOT / "lineage"
    return [path for path in sorted([*folder.glob("*.py"), *folder.glob("*/*.py")]) if path.parent.name not in PARTS]


def shipped() -> list[Path]:
    return [*joining_modules(), *library_modules()]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "lineage" else ("lineage", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in a file, also those within functions; `from a import b` as both a and a.b."""
    for node in ast.walk(parsed(path)):
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
        part = path.relative_to(ROOT).parts[0]
        allowed = (f"lineage.{part}", SHARED)
        for line, name in imported(path):
            if name.partition(".")[0] in OURS and not any(within(name, package) for package in allowed):
                strays.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not strays, "\n".join(strays)


def test_the_joining_modules_do_not_import_commands() -> None:
    strays = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in joining_modules()
        if path.parent.name != "commands" and path.name != "__main__.py"
        for line, name in imported(path)
        if within(name, "lineage.commands") or within(name, "click")
    ]
    assert not strays, "\n".join(strays)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Circles among the modules of one part, by imports at their top; those within functions and for types do not count."""
    paths = {module_name(path): path for path in shipped()}
    edges = {name: {other for other in imported_at_the_top(path) if other in paths} for name, path in paths.items()}
    circles = [
        sorted(component)
        for component in networkx.strongly_connected_components(networkx.DiGraph(edges))
        if len(component) > 1
    ]
    assert not circles, circles


def test_the_graph_has_no_circle_even_in_types_and_functions() -> None:
    paths = {module_name(path): path for path in sorted((ROOT / "graphdb").rglob("*.py"))}
    edges = {name: {other for _, other in imported(path) if other in paths} for name, path in paths.items()}
    components = networkx.strongly_connected_components(networkx.DiGraph(edges))
    assert [sorted(component) for component in components if len(component) > 1] == []


def imported_at_the_top(path: Path) -> Iterator[str]:
    for node in parsed(path).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            files = {name for name in names if (ROOT / name.replace(".", "/")).with_suffix(".py").exists()}
            yield from files or {str(node.module)}


def test_nothing_that_ships_imports_tests_or_benches() -> None:
    strays = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in shipped()
        for line, name in imported(path)
        if name.partition(".")[0] in ("tests", "bench")
    ]
    assert not strays, "\n".join(strays)


def test_nothing_that_ships_names_a_bench_to_import_it() -> None:
    strays = [str(path) for path in shipped() if re.search(r"import_module\(\s*f?[\"'](bench|tests)", path.read_text())]
    assert not strays


def test_nothing_imports_a_part_by_the_name_of_its_folder() -> None:
    """From a checkout `import detect` would work, and load every module a second time."""
    everything = [*shipped(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    strays = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in everything
        for line, name in imported(path)
        if name.partition(".")[0] in PARTS
    ]
    assert not strays, "\n".join(strays)


def test_every_package_and_every_data_file_is_named_for_the_wheel() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {module_name(path).rpartition(".")[0] for path in shipped() if path.name != "__init__.py"}
    packages |= {module_name(path) for path in shipped() if path.name == "__init__.py"}
    assert packages <= set(tools["packages"])
    tracked = subprocess.run(
        ["git", "ls-files", *PARTS, "lineage"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for file in map(Path, tracked.stdout.splitlines()):
        if file.suffix == ".py" or file.is_symlink() or (ROOT / file).is_symlink():
            continue
        package = ".".join(file.parent.parts if file.parts[0] == "lineage" else ("lineage", *file.parent.parts))
        assert package in tools["packages"], file
        assert any(file.match(pattern) for pattern in tools["package-data"].get(package, ())), file


def test_the_links_make_one_package_tree() -> None:
    for part in PARTS:
        link = ROOT / "lineage" / part
        assert link.is_symlink() and link.resolve() == ROOT / part


def loaded_by(*arguments: str) -> tuple[str, set[str]]:
    """What a command prints, and the top-level names of all modules it has loaded by its end."""
    code = (
        "import contextlib, json, sys\n"
        "from lineage.commands import main\n"
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
        "from lineage.commands import main\n"
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


def test_who_is_parent_of_a_stored_path_loads_nothing_that_asks_the_network(tmp_path: Path) -> None:
    """Its file is hashed again, to see whether it still holds the weights that the graph knows."""
    file = tmp_path / "model.safetensors"
    save_file({"a.weight": np.ones((2, 2), np.float32)}, file)
    digest = local_digest(one_local_model(file))
    model = Model(local_id(file), str(file), Status.SKETCHED, signature="s", path=str(file), weights_digest=digest)
    with open_store(str(tmp_path / "store")) as store:
        store.upsert_models([model])
        store.record_run(Run("run", "sync", datetime.now(UTC), datetime.now(UTC)))
        store.replace_edges([model.hub_id], [], [Verdict(model.hub_id, "root", "", 0.97)], "run")
    printed, loaded = loaded_by("who-is-parent", str(file), "--json", "--store", str(tmp_path / "store"))
    assert json.loads(printed)["answer"] == "root"
    assert sorted(loaded & {"torch", "huggingface_hub", "httpx", "httpx2", "requests"}) == []


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
    spoken = [*(p for p in shipped() if p.name != "__init__.py"), *(ROOT / "bench").rglob("*.py")]
    silent = [str(p.relative_to(ROOT)) for p in spoken if p.stat().st_size and not ast.get_docstring(parsed(p))]
    assert not silent


def test_every_command_is_in_one_section_of_the_first_screen() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(COMMANDS)
