"""What the environment may be: proxies, certificates, tokens, zones, no home, no working folder, full disks, passwords in addresses."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from lineage.commands.messages import tell_os_error
from lineage.crawler.progress import BadProgress, NotWritten, Progress
from lineage.graphdb.schema import printable, without_password
from lineage.graphdb.store import open_store
from tests.builders import three_generations
from tests.cli.command import Command
from tests.cli.test_bad_input import refused
from tests.graphs import a_model, an_edge

SECRET = "s3cret-of-nobody"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "ALL_PROXY names a SOCKS proxy, which needs the package socksio"),
        ("all_proxy", "socks5h://127.0.0.1:9", "all_proxy names a SOCKS proxy"),
        ("ALL_PROXY", "socks://127.0.0.1:9", "ALL_PROXY is not the address of a proxy that can be used"),
        ("HTTPS_PROXY", f"http://me:{SECRET}@[::1", "HTTPS_PROXY is not the address of a proxy"),
        ("http_proxy", f"ftp://me:{SECRET}@proxy", "http_proxy is not the address of a proxy"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE=/nowhere/ca.pem cannot be used for certificates: No such file"),
        ("SSL_CERT_FILE", "/etc/passwd", "SSL_CERT_FILE=/etc/passwd cannot be used for certificates: it holds no"),
    ],
)  # fmt: skip
def test_a_proxy_or_certificates_that_cannot_be_used_are_named(
    offline: Command, variable: str, value: str, says: str
) -> None:
    if variable == "ALL_PROXY" and value.startswith("socks5") and _has_socks():
        pytest.skip("socksio is installed here")
    done = offline("who-is-parent", "acme/x", **{variable: value})
    refused(done, 1, says, "")
    assert SECRET not in done.stderr


def _has_socks() -> bool:
    from importlib.util import find_spec

    return find_spec("socksio") is not None


@pytest.mark.parametrize("content", ["hf_abc\n".encode("utf-16"), b"\xff\xfe\x00", None])
def test_a_token_file_that_cannot_be_read_is_named(offline: Command, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    file.mkdir() if content is None else file.write_bytes(content)
    refused(
        offline("who-is-parent", "acme/x", HF_TOKEN_PATH=str(file)),
        1,
        f"the token in {file} cannot be read",
        "HF_TOKEN",
    )


@pytest.mark.parametrize("zone", ['"Europe/Rome"', "Nowhere/Atall"])
def test_a_time_zone_that_is_none_is_one_line(offline: Command, zone: str) -> None:
    refused(offline("sync", "--cron", "0 2 * * *", TZ=zone), 2, "not a time zone known to this machine", "Europe/Rome")


@pytest.mark.parametrize("scheme", ["bolt", "neo4j", "neo4j+s", "postgres"])
def test_a_password_in_the_address_of_a_store_is_not_repeated(offline: Command, scheme: str) -> None:
    address = f"{scheme}://neo4j:{SECRET}@127.0.0.1:9"
    for done in (
        offline("graph", "stats", "--store", address),
        offline("roots", LINEAGE_STORE=address),
        offline("graph", "copy", offline.store, address),
        offline("sync", "--limit", "1", "--store", address),
    ):
        assert done.code == 1 and SECRET not in done.stdout + done.stderr, done
        assert len(done.told) == 2
    assert without_password("bolt://a:b@c@host:7687/x") == "bolt://host:7687/x"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("bolt://neo4j:pass/word@host:7687/x", "bolt://host:7687/x"),
        ("neo4j://host:7687/db?user=me&password=s3cret", "neo4j://host:7687/db?user=me&…"),
        ("s3://key:s3cret@bucket/folder", "s3://bucket/folder"),
        ("s3://bucket/folder@2/x", "s3://bucket/folder@2/x"),
        ("bolt://host:7687/a@b", "bolt://host:7687/a@b"),
    ],
)
def test_no_part_of_a_password_is_left_in_an_address(address: str, shown: str) -> None:
    assert without_password(address) == shown


@pytest.mark.slow
@pytest.mark.parametrize(
    "address", [f"s3://key:{SECRET}@bucket/x", f"memory://me:{SECRET}@x", f"nothing://me:{SECRET}@x"]
)
def test_a_password_in_the_address_of_samples_is_not_repeated(offline: Command, address: str) -> None:
    done = offline("sketches", "stats", "--sketches", address)
    assert SECRET not in done.stdout + done.stderr and "Traceback" not in done.stderr, done


def test_without_a_home_the_store_has_to_be_named(offline: Command) -> None:
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        pytest.skip("needs root and setpriv to become a user without an entry in passwd")
    script = "import sys; sys.argv = ['lineage', 'roots']; from lineage.commands import main; main()"
    rights = "+dac_override,+dac_read_search"
    user = [
        "setpriv",
        "--reuid=54321",
        "--regid=54321",
        "--clear-groups",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*user, sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "no such home folder (HOME is not set)" in done.stderr, done.stderr
    assert "set LINEAGE_STORE" in done.stderr and "Traceback" not in done.stderr


def test_a_home_that_is_nobodys_is_one_line(offline: Command) -> None:
    refused(offline("roots", "--store", "~nobody-at-all/store"), 1, "there is no such home folder", "the whole path")


def test_a_working_folder_that_was_removed_is_told_and_nothing_else_is_advised(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    script = "import os, sys; os.rmdir(os.getcwd()); from lineage.commands import main; main(['graph', 'stats'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "lineage: the folder that this command was started in has been removed",
        "    try: cd to a folder that is there",
    ]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes, nearly full."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    (folder / "filler").write_bytes(b"x" * 1_900_000)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_named(offline: Command, full: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    for name, weights in three_generations()[0].items():
        save_file(weights, zoo / f"{name}.safetensors")
    done = offline("sync", "--folder", zoo, "--store", full / "store")
    assert done.code == 1 and "Traceback" not in done.stderr, done.stderr
    assert "no space left" in done.told[0].lower() or "is full" in done.told[0], done.stderr
    assert str(full) in done.told[0] and "space" in done.told[1]


def test_a_full_disk_is_found_where_the_error_names_no_file(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    assert tell_os_error(error, ["/dev/shm/none", str(full / "store" / "deep")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"lineage: no space left on device on the disk of {full}",
        "    try: free some space there, and run the same command again: it goes on",
    ]


def test_progress_that_cannot_be_written_is_not_called_damaged(full: Path, tmp_path: Path) -> None:
    with pytest.raises(NotWritten, match=r"cannot be written.*"):
        (full / "more").write_bytes(b"x" * 150_000)
        Progress(full / "progress.sqlite")
    (tmp_path / "progress.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(BadProgress, match="cannot be used"):
        Progress(tmp_path / "progress.sqlite")


@pytest.mark.slow
def test_every_line_is_an_object_where_logs_are_json(offline: Command) -> None:
    done = offline("sync", "--log-json", "--limit", "1", "--metrics-port", "0")
    assert done.code == 1 and done.told
    assert [json.loads(line)["level"] for line in done.told][-1] == "ERROR"
    assert json.loads(done.told[0])["message"].startswith("metrics at http://127.0.0.1:")
    assert "does not answer" in json.loads(done.told[-1])["message"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain/name", "plain/name"),
        ("日本語 é\u200d👩", "日本語 é\u200d👩"),
        ("evil\x1b[31m\x1b]0;owned\x07\nnext", "evil\\x1b[31m\\x1b]0;owned\\x07\\nnext"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u200bb\u2060\U000e0041", "a\\u200bb\\u2060\\U000e0041"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_names_are_printed_without_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.slow
def test_messages_about_hostile_names_send_nothing_to_the_terminal(offline: Command) -> None:
    hostile = "a\x1b]0;owned\x07\x9b\u202e"
    for arguments in (
        (hostile,),
        ("who-is-parent", hostile),
        ("scan", hostile),
        ("roots", "--kind", hostile),
        ("scan", ".", "--" + hostile),
    ):
        done = offline(*arguments)
        assert done.code in (2, 4), done
        assert not set("\x1b\x07\x9b\u202e") & set(done.stdout + done.stderr), done.stderr


@pytest.mark.slow
def test_a_listing_without_a_match_is_one_line(offline: Command) -> None:
    from tests.fake_hub import FakeHub

    with FakeHub() as hub:
        hub.add_repo("acme/a", {"README.md": b""})
        done = offline("crawl", "--author", "nobody", HF_ENDPOINT=hub.url)
    assert (done.code, done.stdout) == (0, "no model was listed: nothing matches what was asked for\n")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_encodings_that_lack_a_character_stop_no_answer(tmp_path: Path, encoding: str) -> None:
    name = "org/日本é🤗"
    with open_store(str(tmp_path / "store")) as store:
        store.upsert_models([a_model("a", repo_id=name), a_model("b")])
        store.replace_edges(["id-b"], [an_edge("b", "a", 0.9)], [], "run")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LINEAGE_STORE": str(tmp_path / "store")}
    for command in (
        ("tree", "org/b"),
        ("ancestors", "org/b"),
        ("path", "org/b", name),
        ("graph", "export", "--format", "dot"),
    ):
        done = subprocess.run([sys.executable, "-m", "lineage", *command], env=environment, capture_output=True)
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
        assert ("日本" if encoding == "utf-8" else "\\u65e5\\u672c") in done.stdout.decode(encoding)
    done = subprocess.run(
        [sys.executable, "-m", "lineage", "ancestors", "org/b", "--json"], env=environment, capture_output=True
    )
    text = done.stdout.decode(
        "cp1252" if encoding == "cp1252" else "utf-8"
    )  # click writes UTF-8 where Python says ASCII
    assert json.loads(text)[0]["repo_id"] == name


@pytest.mark.slow
@pytest.mark.parametrize("exempt", ["fe80::/10,[::1],127.0.0.1", "::1", "[::1]:9,*.local"])
def test_exemptions_from_a_proxy_may_be_networks_and_brackets(offline: Command, exempt: str) -> None:
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": exempt}
    refused(offline("who-is-parent", "acme/x", **proxy), 1, "does not answer", "network")
