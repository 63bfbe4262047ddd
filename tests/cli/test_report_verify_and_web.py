"""`lineage report`, `verify`, `web` and `status` as a person runs them, on the loopback Hub's family and on folders."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from tests.builders import start, three_generations, tune, write
from tests.cli.command import Command
from tests.cli.world import World

pytestmark = pytest.mark.slow

ADDRESSES = re.compile(r"""(?:src|href|action)=(?!["']#)""")


def self_contained(page: str) -> bool:
    """No script, nothing that is fetched; every anchor leads to an element of the page."""
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    ids = set(re.findall(r'id="([^"]+)"', page))
    return "<script" not in page and not ADDRESSES.search(page) and "url(" not in page and anchors <= ids


def test_a_report_of_a_stored_model_is_one_page(world: World, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = world.lineage("report", "acme/ca", "-o", file)
    assert done.code == 0 and str(file) in done.stderr and done.stdout == ""
    page = file.read_text()
    assert self_contained(page) and len(page) < 1_000_000
    assert "acme/ca was fine-tuned from acme/c" in page and "contradicts" in page
    assert page.count('<svg class="layers"') >= 1
    assert "default-src 'none'" in page


def test_a_report_goes_to_stdout_in_a_pipe_and_as_markdown(world: World) -> None:
    done = world.lineage("report", "acme/ca")
    assert done.stdout.lstrip().startswith("<!doctype html>")
    text = world.lineage("report", "acme/ca", "acme/d", "--format", "md").stdout
    assert text.startswith("# Lineage of 2 models") and "| acme/ca | fine-tuned | acme/c |" in text.replace("\\", "")
    written = world.lineage("report", "acme/ca", "-o", world.lineage.store.parent / "page.md")
    assert written.stderr.strip().endswith(" bytes") and "browser" not in written.stderr
    numbers = world.lineage("report", "acme/ca", "--json").json
    assert numbers["models"][0]["model"] == "acme/ca" and numbers["models"][0]["agreement"] == "contradicts"


def test_the_card_says_what_the_weights_say(world: World) -> None:
    done = world.lineage("report", "acme/ca", "--card")
    assert yaml.safe_load(done.stdout) == {"base_model": "acme/c", "base_model_relation": "finetune"}
    assert "the card says now: acme/b (contradicts)" in done.stdout
    root = world.lineage("report", "acme/a", "--card").stdout
    assert yaml.safe_load(root) is None and "nothing to be written" in root


def test_a_report_of_a_folder_has_all_families(offline: Command, tmp_path: Path) -> None:
    models, parents = three_generations()
    write(tmp_path / "models", {**models, "<b>stranger": start(77)})
    file = tmp_path / "folder.html"
    assert offline("report", tmp_path / "models", "-o", file).code == 0
    page = file.read_text()
    assert self_contained(page) and "<b>stranger" not in page and "&lt;b&gt;stranger" in page
    numbers = offline("report", tmp_path / "models", "--json").json
    assert {member["model"] for member in numbers["members"]} == {*models, "<b>stranger"}
    found = {edge["child"]: edge["parent"] for edge in numbers["edges"] if edge["relation"] == "FINE_TUNED_FROM"}
    assert found and all(parents[child] == parent for child, parent in found.items())
    assert numbers["layers"]


def test_formats_and_endings_that_do_not_go_together_are_usage_errors(world: World, tmp_path: Path) -> None:
    for arguments in (
        ["report", "acme/ca", "-o", tmp_path / "x.pdf"],
        ["report", "acme/ca", "-o", tmp_path / "x.md", "--format", "html"],
        ["report", "acme/ca", "-o", tmp_path / "none" / "x.html"],
        ["report", "acme/ca", "acme/d", "--card"],
        ["tree", "acme/a", "-o", tmp_path / "x.pdf"],
        ["tree", "acme/a", "-o", tmp_path / "x.dot", "--format", "html"],
        ["tree", "acme/a", "--json", "--format", "dot"],
        ["graph", "export", "-o", tmp_path / "x.graphml", "--format", "dot"],
        ["graph", "export", "--format", "newick"],
    ):
        done = world.lineage(*arguments)
        assert done.code == 2 and done.stdout == "", arguments
    assert not list(tmp_path.iterdir())


def test_a_report_of_a_model_that_is_not_there(world: World) -> None:
    done = world.lineage("report", "acme/nothing")
    assert done.code == 4 and len(done.told) == 2


def test_verify_holds_contradicts_and_cannot_tell(world: World) -> None:
    assert world.lineage("verify", "acme/d").code == 0
    lied = world.lineage("verify", "acme/ca")
    assert lied.code == 5 and "acme/b is declared; the weights come from acme/c" in lied.stdout
    assert world.lineage("verify", "acme/ca", "--parent", "acme/c").code == 0
    assert world.lineage("verify", "acme/ca", "--parent", "acme/d").code == 5
    assert world.lineage("verify", "acme/half", "--quantized-from", "acme/d").code == 0
    assert world.lineage("verify", "acme/ca", "--quantized-from", "acme/c").code == 5
    adapter = world.lineage("verify", "acme/adapter")
    assert adapter.code == 0 and "acme/a is declared and fits" in adapter.stdout
    assert world.lineage("verify", "acme/adapter", "--parent", "acme/d").code == 5


def test_verify_writes_its_findings_for_programs(world: World, tmp_path: Path) -> None:
    sarif, junit = tmp_path / "x.sarif", tmp_path / "x.xml"
    done = world.lineage("verify", "acme/ca", "--json", "--sarif", sarif, "--junit", junit)
    assert done.code == 5 and done.json["outcome"] == "contradicted"
    results = json.loads(sarif.read_text())["runs"][0]["results"]
    assert [(result["ruleId"], result["level"]) for result in results] == [("declared", "error")]
    assert ElementTree.parse(junit).getroot().get("failures") == "1"


def test_verify_a_folder_without_a_store(offline: Command, tmp_path: Path) -> None:
    base = start(5)
    models = {"base": base, "child": tune(base, 6), "other": tune(base, 7), "grand": tune(tune(base, 6), 8)}
    for name, weights in models.items():
        write(tmp_path / "models" / name, {"model": weights})
    (tmp_path / "models" / "child" / "README.md").write_text("---\nbase_model: base\nlicense: mit\n---\n")
    done = offline("verify", tmp_path / "models", "--declared", "--json")
    only = offline("verify", tmp_path / "models" / "child", "--json").json["checks"]
    assert [check["model"] for check in only] == ["child"]
    outcomes = {check["model"].split("/")[0]: check["outcome"] for check in done.json["checks"]}
    assert outcomes["child"] in ("holds", "cannot tell") and set(outcomes) == set(models)
    assert done.code == done.json["exit_code"]


def test_verify_a_licence_policy(world: World, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("allow: [mit]\nunknown: allow\n")
    assert world.lineage("verify", "acme/d", "--licence-policy", policy).code == 0
    policy.write_text("unknown: deny\n")
    assert world.lineage("verify", "acme/d", "--licence-policy", policy).code == 5
    policy.write_text("nonsense: 1\n")
    assert world.lineage("verify", "acme/d", "--licence-policy", policy).code == 2


@pytest.mark.parametrize(
    "form, begins", [("dot", "digraph"), ("mermaid", "graph BT"), ("html", "<!doctype html>"), ("json", "[")]
)
def test_lists_are_drawn_and_exported(world: World, tmp_path: Path, form: str, begins: str) -> None:
    endings = {"dot": ".gv", "mermaid": ".mmd", "html": ".html", "json": ".json"}
    for command in (["tree", "acme/a"], ["blast-radius", "acme/a"], ["path", "acme/ca", "acme/d"]):
        printed = world.lineage(*command, "--format", form).stdout
        assert printed.lstrip().startswith(begins), command
        file = tmp_path / f"out{endings[form]}"
        assert world.lineage(*command, "-o", file).code == 0
        assert file.read_text().lstrip().startswith(begins)
        if form == "html":
            assert self_contained(printed)


def test_fail_on_ends_with_code_5(world: World) -> None:
    assert world.lineage("declared", "--fail-on", "contradicts").code == 5
    assert world.lineage("declared", "acme/d", "--fail-on", "contradicts").code == 0
    assert world.lineage("licences", "--fail-on", "conflict").code == 0
    assert world.lineage("stale", "--fail-on", "any").code == 0


def test_one_family_is_exported(world: World) -> None:
    done = world.lineage("graph", "export", "--model", "acme/stranger", "--format", "node-link")
    assert [node["repo_id"] for node in done.json["nodes"]] == ["acme/stranger"]


def test_status_says_what_is_there(world: World, offline: Command) -> None:
    found = world.lineage("status", "--json").json
    assert found["state"] == "filled" and found["last_run"]["command"] == "sync" and found["edges"] > 0
    text = world.lineage("status").stdout
    assert "models of" in text and "last run" in text
    assert offline("status", "--json").json["state"] == "empty"


def test_web_serves_the_store_while_other_commands_work_on_it(own_world: World) -> None:
    running = own_world.lineage.start("web", "--port", "0", "--json")
    for _ in range(600):
        if running.stdout().strip():
            break
        assert not running.wait(0.1), running.stderr()
    url = json.loads(running.stdout())["url"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + "model/acme/ca", timeout=30) as answer:
        assert "acme/ca was fine-tuned from acme/c" in answer.read().decode()
    with opener.open(url + "layers.svg?child=acme/ca&parent=acme/c", timeout=60) as answer:
        assert "<circle" in answer.read().decode()
    assert own_world.lineage("sync", "--json").code == 0
    assert own_world.lineage("who-is-parent", "acme/ca").code == 0
    running.signal(signal.SIGINT)
    assert running.done().code == 130


def test_web_asks_for_a_password_beyond_loopback(offline: Command, tmp_path: Path) -> None:
    done = offline("web", "--host", "0.0.0.0", "--port", "0")
    assert done.code == 2 and "password" in done.stderr
    short = tmp_path / "password"
    short.write_text("me:short\n")
    done = offline("web", "--host", "0.0.0.0", "--port", "0", "--password-file", short)
    assert done.code == 2 and "shorter than 12" in done.stderr
    assert offline("web", "--port", "0").code == 1  # no store
