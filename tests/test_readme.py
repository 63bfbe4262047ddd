"""README.md and docs/ keep up with the program: commands, options, variables, links. Transcripts are tested in test_demo.py."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from lineage.commands import COMMANDS, cli
from lineage.crawler.formats.registry import READ_SUFFIXES
from tests.invocations import check, commands, invocation

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TEXT = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PAGES}
README, COMMANDS_PAGE, ACCURACY, VERIFY = (
    TEXT[name] for name in ("README.md", "docs/commands.md", "docs/accuracy.md", "docs/verify.md")
)
VARIABLE = re.compile(r"\b(?:LINEAGE|NEO4J|HF)_[A-Z0-9_]+\b")


def blocks(page: str) -> list[str]:
    """The code blocks: fenced ones, and those that are indented by four columns."""
    fenced = re.findall(r"^```(?:console|bash)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return fenced + re.findall(r"(?:^    .*\n)+", prose_of(page), re.MULTILINE)


def prose_of(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)


def command_lines(page: str) -> list[str]:
    """Lines of code blocks that a person would type: after a prompt, if the block has prompts."""
    lines = []
    for block in blocks(page):
        rows = [row.strip() for row in block.splitlines()]
        prompted = [row for row in rows if row.startswith("$ ")]
        lines += prompted or rows
    return [re.sub(r"^(?:[\d*]+ +){5}", "", line) for line in lines]  # of a crontab: what comes after the five fields


def mentioned(page: str) -> list[str]:
    """Commands in running text and tables: `lineage …` between backticks, with at least one word that is typed as it stands."""
    return re.findall(r"`(lineage [a-z][^`]*)`", prose_of(page))


INVOCATIONS = [
    (name, line, words)
    for name, page in TEXT.items()
    for line in command_lines(page)
    if "_LINEAGE_COMPLETE=" not in line and (words := invocation(line)) is not None
]
MENTIONED = [(name, text) for name, page in TEXT.items() for text in mentioned(page)]


def test_pages_have_invocations_to_check() -> None:
    assert len(INVOCATIONS) >= 50 and len({name for name, _, _ in INVOCATIONS}) >= 10


@pytest.mark.parametrize(
    "line, words", [i[1:] for i in INVOCATIONS], ids=[f"{name}: {line[:50]}" for name, line, _ in INVOCATIONS]
)
def test_every_command_line_in_a_code_block_parses(line: str, words: list[str]) -> None:
    check(words)


@pytest.mark.parametrize("name, text", MENTIONED)
def test_every_command_in_the_text_exists_with_its_options(name: str, text: str) -> None:
    first, *rest = text.split()[1:]
    command = cli.get_command(click.Context(cli), first)
    assert command is not None, name
    if isinstance(command, click.Group) and rest:
        command = command.commands[rest.pop(0)]
    known = {word for parameter in command.params for word in parameter.opts}
    assert {word for word in rest if word.startswith("-")} - {"--help"} <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_table(name: str) -> None:
    rows = [row for row in COMMANDS_PAGE.splitlines() if row.startswith("| `lineage ")]
    assert any(re.match(rf"\| `lineage {name}\b", row) for row in rows)


def test_every_command_of_graph_is_in_the_table() -> None:
    row = next(row for row in COMMANDS_PAGE.splitlines() if row.startswith("| `lineage graph "))
    assert all(name.split()[1] in row for name, _ in commands() if name.startswith("graph "))


@pytest.mark.parametrize("name", TEXT)
def test_options_named_in_the_text_exist(name: str) -> None:
    known = {word for _, command in commands() for parameter in command.params for word in parameter.opts}
    prose = re.sub(r"`python -m [^`]*`|docker compose up[^#\n]*", "", prose_of(TEXT[name]))  # with options of their own
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose)) - {"--help"} <= known


def test_options_are_looked_for_on_the_pages_that_name_them() -> None:
    named = {name for name, page in TEXT.items() if re.search(r"(?<![\w-])--[a-z]", prose_of(page))}
    assert {"docs/commands.md", "docs/operate.md", "docs/how-it-works.md", "docs/methods.md", "docs/ray.md"} <= named


def test_variables_that_the_program_reads_are_documented() -> None:
    texts = [command.help or "" for _, command in commands()]
    options = [p for _, command in commands() for p in command.params if isinstance(p, click.Option) and not p.hidden]
    texts += [option.help or "" for option in options]
    read = {name for text in texts for name in VARIABLE.findall(text)}
    read |= {option.envvar for option in options if isinstance(option.envvar, str)}
    for package in ("crawler", "detect", "graphdb", "queries"):
        for path in (ROOT / package).rglob("*.py"):
            for use in re.findall(r"environ[\w.]*[\[(]\s*\"(\w+)\"", path.read_text()):
                read.add(use)
    documented = set(re.findall(r"^\| (`.*?) \|", COMMANDS_PAGE, re.MULTILINE))
    named = {name for cell in documented for name in VARIABLE.findall(cell)}
    assert read and {name for name in read if VARIABLE.fullmatch(name)} <= named


def test_exit_codes_are_those_of_the_help() -> None:
    told = re.findall(r"(\d) ([a-z][a-z ]+)", " ".join((cli.help or "").split("Exit codes:")[1].split()))
    assert [number for number, _ in told] == ["0", "1", "2", "3", "4", "5"]
    table = re.findall(r"^\| (\d) \| (.*) \|$", COMMANDS_PAGE, re.MULTILINE)
    assert [number for number, _ in table] == [number for number, _ in told]


@pytest.mark.parametrize("path", PAGES, ids=list(TEXT))
def test_links_and_modules_that_are_named_exist(path: Path) -> None:
    page = path.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []
    modules = re.findall(r"python -m ([\w.]+)", page)
    places = [ROOT / module.replace(".", "/") for module in modules]
    assert all(place.with_suffix(".py").exists() or (place / "__main__.py").exists() for place in places)


def test_folders_of_the_sources_are_named_and_exist() -> None:
    folders = re.findall(r"^\| `(\w+/|\w+\.py)` \|", TEXT["docs/development.md"], re.MULTILINE)
    assert len(folders) >= 6 and all((ROOT / folder).exists() for folder in folders)


def test_rows_of_results_are_those_of_the_results_file() -> None:
    tables = re.findall(r"<!-- rows: bench/RESULTS\.md -->\n((?:\|.*\n)+)", ACCURACY)
    results = (ROOT / "bench" / "RESULTS.md").read_text().splitlines()
    rows = [row for table in tables for row in table.splitlines()]
    assert len(tables) == 3 and [row for row in rows if row not in results] == []


def test_make_targets_of_the_pages_exist() -> None:
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if "##" in line}
    lines = [line for page in TEXT.values() for line in command_lines(page) if line.startswith("make ")]
    named = {line.split()[1] for line in lines} | {
        name for page in TEXT.values() for name in re.findall(r"`make (\w+)`", page)
    }
    assert named >= {"install", "demo", "test", "check"} and named <= targets


def test_readme_is_one_screen_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) <= 90
    assert len(re.findall(r"^!\[", README, re.MULTILINE)) == 1
    assert [words[0] for name, _, words in INVOCATIONS if name == "README.md"] == ["scan", "sync", "who-is-parent"]
    made = [line.split()[1] for line in command_lines(README) if line.startswith("make ")]
    assert made == ["install", "demo", "test"]
    assert set(re.findall(r"\((docs/[\w-]+\.md)\)", README)) == set(TEXT) - {"README.md"}


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "    make test " in README and re.search(r"^make test\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_hook_runs_for_every_file_that_is_read() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    for name in (*(f"models/a/model{suffix}" for suffix in READ_SUFFIXES), "a/README.md", "MODEL.SAFETENSORS"):
        assert re.search(hook["files"], name), name
    assert not re.search(hook["files"], "src/main.py")


def test_hook_and_action_of_the_page_are_those_of_this_repository() -> None:
    loaded = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", VERIFY, re.DOTALL | re.MULTILINE)]
    _, hooks, steps = loaded
    offered = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert {hook["id"] for repository in hooks["repos"] for hook in repository["hooks"]} <= offered
    (ours,) = [step for step in steps if step["uses"].startswith("./")]
    assert set(ours["with"]) <= set(yaml.safe_load((ROOT / "action.yml").read_text())["inputs"])
    assert not re.search(r"\bOWNER\b", "".join(TEXT.values()))
