"""`lineage verify`: the gate. Claims about models checked against their weights, for people and for continuous integration."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from lineage.commands.completion import complete_model
from lineage.commands.options import endpoint_option, evidence_options, sketches_option, store_option
from lineage.commands.outputs import OutputFile
from lineage.commands.stages import stage
from lineage.graphdb.schema import home_path


@click.command()
@click.argument("model", shell_complete=complete_model, metavar="MODEL|FOLDER")
@store_option
@sketches_option
@endpoint_option
@evidence_options
@click.option(
    "--declared", is_flag=True, help="The card's base must be what the weights say [default without another check]."
)
@click.option("--parent", metavar="X", help="The parent must be X: a repository, folder or file.")
@click.option("--quantized-from", metavar="X", help="The weights must be those of X, quantized.")
@click.option(
    "--licence-policy",
    "--license-policy",
    "policy_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML with the licences that may lie along the chain; docs/verify.md has the entries.",
)
@click.option(
    "--no-unknown", is_flag=True, help="Treat undecided checks and an unknown origin as failures (exit code 5, not 3)."
)
@click.option("--sarif", type=OutputFile(), metavar="FILE", help="Also write SARIF 2.1.0, for code scanning.")
@click.option("--junit", type=OutputFile(), metavar="FILE", help="Also write JUnit XML, for test reports.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def verify(
    model: str,
    store: str,
    sketches: str | None,
    endpoint: str | None,
    declared: bool,
    parent: str | None,
    quantized_from: str | None,
    policy_file: Path | None,
    no_unknown: bool,
    sarif: Path | None,
    junit: Path | None,
    json_wanted: bool,
    **evidence: Any,
) -> None:
    """Check what is claimed of a model against its weights: exit code 0 holds, 5 contradicted, 3 cannot tell.

    MODEL is a repository, repository@revision, folder or file; of a FOLDER with several models each is checked.

    \b
    lineage verify acme/digits-mlp-rotated
    lineage verify ./checkpoint --parent acme/digits-mlp --licence-policy licences.yaml
    lineage verify ./release --declared --no-unknown --sarif lineage.sarif --junit lineage.xml
    """
    from lineage.answering import Question
    from lineage.evidence import options_of
    from lineage.locations import sketches_folder
    from lineage.pages.provenance import program_version
    from lineage.reading import graph_if_there
    from lineage.verify import documents
    from lineage.verify.checks import Check, best_of_parts, overall, strict
    from lineage.verify.gather import Expectation, verify_folder, verify_model, verify_parts
    from lineage.verify.policy import read_policy

    policy = read_policy(policy_file) if policy_file else None
    asked = declared or not (parent or quantized_from or policy)
    expected = Expectation(asked, no_unknown, parent, quantized_from, policy)
    options_of(**evidence)  # a wrong option is said before anything is read

    def ask(name: str) -> Question:
        return Question(name, sketches_folder(store, sketches), endpoint, evidence, store_it=False)

    path = home_path(model)
    of_parts: list[Check] = []
    with graph_if_there(store) as graph, stage("checking"):
        if path.is_dir():
            checks, places = verify_folder(path, ask, graph, expected, options_of(**evidence), lambda models: models)
        else:
            of_parts = verify_parts(ask(model), graph, expected)
            checks = of_parts or verify_model(ask(model), graph, expected, str(path) if path.exists() else None)
            places = {check.model: str(path) for check in checks} if path.exists() else {}
    checks = [strict(check) for check in checks] if no_unknown else checks
    outcome = (best_of_parts if of_parts else overall)(checks)
    if sarif:
        sarif.write_text(
            json.dumps(documents.as_sarif(checks, places, program_version()), indent=1) + "\n", encoding="utf-8"
        )
    if junit:
        junit.write_text(documents.as_junit(checks), encoding="utf-8")
    if json_wanted:
        click.echo(json.dumps(documents.as_json(checks, outcome), indent=1))
    else:
        _tell(documents.as_text(checks, outcome))
    if outcome.exit_code:
        raise click.exceptions.Exit(outcome.exit_code)


def _tell(lines: Any) -> None:
    from lineage.commands.colours import styled
    from lineage.pages.words import visible

    for outcome, line in lines:
        click.echo(styled(visible_line(visible, line), str(outcome), sys.stdout))


def visible_line(visible: Any, line: str) -> str:
    """A line in which a name cannot move the cursor or colour the terminal."""
    shown: str = visible(line)
    return shown
