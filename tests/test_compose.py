"""docker-compose.yml and Dockerfile: what can be checked without a container engine."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from apscheduler.triggers.cron import CronTrigger

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SCHEMA = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text())
UNITS = {"m": 1 << 20, "g": 1 << 30}


def interpolate(text: str, environment: dict[str, str]) -> str:
    """`$$`, `${NAME}`, `${NAME:-default}` and `${NAME:?message}`, as Compose does before it reads the YAML's values.

    Raises:
        KeyError: if a variable is required and not set, or has no default.
    """

    def value(found: re.Match[str]) -> str:
        if found.group() == "$$":
            return "$"
        name, default = found["name"], found["default"]
        return environment.get(name) or default if default is not None else environment[name]

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)?\}", value, text)


@pytest.fixture
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(interpolate(TEXT, {"NEO4J_PASSWORD": "a long password"}))
    return found


def size_bytes(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]


def test_file_is_valid_by_the_compose_specification(compose: dict[str, Any]) -> None:
    jsonschema.validate(compose, SCHEMA)
    jsonschema.validate(yaml.safe_load(TEXT), SCHEMA)


def test_schema_refuses_what_compose_would_refuse(compose: dict[str, Any]) -> None:
    compose["services"]["neo4j"]["healthcheck"]["retires"] = 3
    with pytest.raises(jsonschema.ValidationError, match="retires"):
        jsonschema.validate(compose, SCHEMA)


def test_password_comes_from_the_environment_and_has_no_default(compose: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="NEO4J_PASSWORD"):
        interpolate(TEXT, {})
    assert set(re.findall(r"\$\{NEO4J_PASSWORD(:.)", TEXT)) == {":?"}
    services = compose["services"]
    assert services["neo4j"]["environment"]["NEO4J_AUTH"] == "neo4j/a long password"
    assert services["lineage"]["environment"]["NEO4J_PASSWORD"] == "a long password"
    assert (
        "NEO4J_PASSWORD" not in services["neo4j"]["environment"]
    )  # the image would read it as a setting and not start


def test_images_are_pinned_and_neo4j_is_the_version_that_the_tests_run(compose: dict[str, Any]) -> None:
    from tests.neo4j_server import VERSION

    assert compose["services"]["neo4j"]["image"] == f"neo4j:{VERSION}-community"
    from lineage import __version__ as version

    assert compose["services"]["lineage"]["image"] == f"lineage:{version}"
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)[-1])


def test_nightly_service_waits_until_cypher_shell_gets_an_answer(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["lineage"]["depends_on"] == {"neo4j": {"condition": "service_healthy"}}
    kind, command = services["neo4j"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL" and "cypher-shell" in command
    assert 'NEO4J_PASSWORD="${NEO4J_AUTH#neo4j/}"' in command  # taken apart inside the container, after `$$`


def test_memory_of_neo4j_fits_below_its_limit(compose: dict[str, Any]) -> None:
    neo4j = compose["services"]["neo4j"]
    settings = neo4j["environment"]
    heap, cache = (size_bytes(settings[f"NEO4J_server_memory_{name}"]) for name in ("heap_max__size", "pagecache_size"))
    assert heap + cache <= 0.8 * size_bytes(neo4j["mem_limit"])


def test_volumes_are_declared_and_used_and_ports_stay_on_this_machine(compose: dict[str, Any]) -> None:
    used = {v.split(":")[0] for s in compose["services"].values() for v in s["volumes"]}
    assert used == set(compose["volumes"])
    assert all(port.startswith("127.0.0.1:") for s in compose["services"].values() for port in s.get("ports", []))


def test_command_of_the_service_is_one_that_lineage_and_the_scheduler_accept(compose: dict[str, Any]) -> None:
    from lineage.commands import cli

    service = compose["services"]["lineage"]
    name, *arguments = service["command"]
    command = cli.get_command(cli.make_context("lineage", ["--help"], resilient_parsing=True), name)
    assert command is not None
    options = command.make_context(name, list(arguments)).params
    CronTrigger.from_crontab(options["cron"], timezone=service["environment"]["TZ"])
    assert "--log-json" in arguments
    assert f"127.0.0.1:{options['metrics_port']}/metrics" in service["healthcheck"]["test"][-1]


def test_dockerfile_copies_every_package_and_runs_as_nobody_special(compose: dict[str, Any]) -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {package.split(".")[0] for package in tools["packages"]} | set(tools["package-dir"].values())
    copied = {word for line in re.findall(r"^COPY (.+) /src", DOCKERFILE, re.M) for word in line.split()}
    assert folders | {"pyproject.toml", "README.md", "LICENSE"} == copied
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    assert copied == kept
    after_user = DOCKERFILE.split("\nUSER ")[-1]
    (uid,) = re.findall(r"useradd .*--uid (\d+) lineage", DOCKERFILE)
    assert after_user.startswith(f"{uid}:{uid}\n"), "a number, which a cluster that allows no root can check"
    assert 'ENTRYPOINT ["lineage"]' in after_user
    assert "/data" in re.findall(r"^VOLUME (\S+)", DOCKERFILE, re.M)
    assert any(v.endswith(":/data") for v in compose["services"]["lineage"]["volumes"])
