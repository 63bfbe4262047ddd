"""README.md keeps up with the program: commands, options, variables, links. Its transcripts are tested in test_demo.py."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from lineage.commands import COMMANDS, cli
from tests.invocations import check, commands, invocation

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
VARIABLE = re.compile(r"\b(?:LINEAGE|NEO4J|HF)_[A-Z0-9_]+\b")


def blocks() -> list[str]:
    """The code blocks: fenced ones, and those that are indented by four columns."""
    fenced = re.findall(r"^```(?:console|bash)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    indented = re.findall(
        r"(?:^    .*\n)+", re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return fenced + indented


def command_lines() -> list[str]:
    """Lines of code blocks that a person would type: after a prompt, if the block has prompts."""
    lines = []
    for block in blocks():
        rows = [row.strip() for row in block.splitlines()]
        prompted = [row for row in rows if row.startswith("$ ")]
        lines += prompted or rows
    return [re.sub(r"^(?:[\d*]+ +){5}", "", line) for line in lines]  # of a crontab: what comes after the five fields


def mentioned() -> list[str]:
    """Commands in running text and tables: `lineage …` between backticks, with at least one word that is typed as it stands."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`(lineage [a-z][^`]*)`", prose)


INVOCATIONS = [(line, words) for line in command_lines() if (words := invocation(line)) is not None]


def test_readme_has_invocations_to_check() -> None:
    assert len(INVOCATIONS) >= 12


@pytest.mark.parametrize("line, words", INVOCATIONS, ids=[line[:50] for line, _ in INVOCATIONS])
def test_every_command_line_in_a_code_block_parses(line: str, words: list[str]) -> None:
    check(words)


@pytest.mark.parametrize("text", mentioned())
def test_every_command_in_the_text_exists_with_its_options(text: str) -> None:
    first, *rest = text.split()[1:]
    command = cli.get_command(click.Context(cli), first)
    assert command is not None
    if isinstance(command, click.Group) and rest:
        command = command.commands[rest.pop(0)]
    known = {word for parameter in command.params for word in parameter.opts}
    assert {word for word in rest if word.startswith("-")} - {"--help"} <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_table(name: str) -> None:
    rows = [row for row in README.splitlines() if row.startswith("| `lineage ")]
    assert any(re.match(rf"\| `lineage {name}\b", row) for row in rows)


def test_every_command_of_graph_is_in_the_table() -> None:
    row = next(row for row in README.splitlines() if row.startswith("| `lineage graph "))
    assert all(name.split()[1] in row for name, _ in commands() if name.startswith("graph "))


def test_options_named_in_the_text_exist() -> None:
    known = {word for _, command in commands() for parameter in command.params for word in parameter.opts}
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`python -m [^`]*`|docker compose up[^#\n]*", "", prose)  # programs with options of their own
    assert set(re.findall(r"(?<!\S)`?(--[a-z][a-z-]+)", prose)) - {"--help"} <= known


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
    documented = set(re.findall(r"^\| (`.*?) \|", README, re.MULTILINE))
    named = {name for cell in documented for name in VARIABLE.findall(cell)}
    assert read and {name for name in read if VARIABLE.fullmatch(name)} <= named


def test_exit_codes_are_those_of_the_help() -> None:
    told = re.findall(r"(\d) ([a-z][a-z ]+)", " ".join((cli.help or "").split("Exit codes:")[1].split()))
    assert [number for number, _ in told] == ["0", "1", "2", "3", "4", "5"]
    table = re.findall(r"^\| (\d) \| (.*) \|$", README, re.MULTILINE)
    assert [number for number, _ in table] == [number for number, _ in told]


def test_links_and_files_that_are_named_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links and all((ROOT / link).exists() for link in links)
    folders = re.findall(r"^\| `(\w+/|\w+\.py)` \|", README, re.MULTILINE)
    assert len(folders) >= 6 and all((ROOT / folder).exists() for folder in folders)
    modules = re.findall(r"python -m ([\w.]+)", README)
    places = [ROOT / module.replace(".", "/") for module in modules]
    assert all(place.with_suffix(".py").exists() or (place / "__main__.py").exists() for place in places)


def test_rows_of_results_are_those_of_the_results_file() -> None:
    tables = re.findall(r"<!-- rows: bench/RESULTS\.md -->\n((?:\|.*\n)+)", README)
    results = (ROOT / "bench" / "RESULTS.md").read_text().splitlines()
    rows = [row for table in tables for row in table.splitlines()]
    assert len(tables) == 2 and [row for row in rows if row not in results] == []


def test_first_screen_says_what_it_is_for_and_how_to_see_it() -> None:
    first = README.splitlines()[:30]
    assert sum(line.startswith("- **") for line in first) == 4
    assert any("$ lineage ancestors " in line for line in first)
    assert [line.split()[1] for line in first if line.startswith("    make ")][:2] == ["demo", "test"]
