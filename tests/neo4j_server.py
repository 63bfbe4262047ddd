"""Starts a genuine Neo4j Community for the tests: the jars come from Maven Central once, the server is one Java process.

`python -m tests.neo4j_server` only fetches the jars (what CI does beforehand); `python -m tests.neo4j_server --serve PORT`
runs a server until standard input ends.
"""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

VERSION = "5.26.16"
HERE = Path(__file__).parent / "neo4j"
JARS = Path(__file__).parent.parent / ".neo4j" / f"lib-{VERSION}"
OPENS = ("java.nio", "java.io", "java.lang", "java.util.concurrent", "sun.nio.ch")
START_SECONDS = 120
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # half the processor time of a short life


class NotHere(Exception):
    """Neo4j cannot be started on this machine; says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: address, user, password, version and the process."""

    url: str
    user: str
    password: str
    version: str
    process: subprocess.Popen[str]


def jars() -> Path:
    """The folder with Neo4j's jars (`NEO4J_JARS`, else `.neo4j/` of the checkout), filled through Maven where it is not there.

    Raises:
        NotHere: if Java or Maven are missing, or Maven cannot fetch the jars.
    """
    if shutil.which("java") is None:
        raise NotHere("java is not installed")
    folder = Path(os.environ.get("NEO4J_JARS") or JARS)
    if (folder / f"neo4j-bolt-{VERSION}.jar").exists():
        return folder
    if shutil.which("mvn") is None:
        raise NotHere(f"mvn is not installed, and {folder} does not hold the jars of Neo4j {VERSION}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        # the paths are absolute, and the pom is read from here, so that Maven writes nothing into the sources
        command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={beside}"], capture_output=True, text=True, timeout=900, check=False
        )
        if done.returncode:
            raise NotHere(f"Maven could not fetch Neo4j {VERSION}: {(done.stdout + done.stderr)[-800:]}")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


@contextmanager
def neo4j_server(
    password: str = "lineage-tests",
    port: int | None = None,
    *,
    home: Path | None = None,
    heap: str = "1g",
    page_cache_mb: int = 64,
    short_lived: bool = True,
) -> Iterator[Server]:
    """A server with authentication on, on a free port of 127.0.0.1.

    Args:
        home: folder of the database, which stays; without it, an empty one that goes when the server ends.
        short_lived: start quickly rather than answer fast in the long run, which is what a bench measures.
    Raises:
        NotHere: if it cannot be started here.
    """
    folder = jars()
    port = port or free_port()
    with ExitStack() as stack:
        place = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neo4j-")))
        log = stack.enter_context((place / "server.log").open("w+"))
        process = subprocess.Popen(
            [
                "java",
                f"-Xmx{heap}",
                *(QUICK_START if short_lived else ()),
                *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENS),
                "-cp",
                f"{folder}/*",
                str(HERE / "Neo4jServer.java"),
                str(place),
                str(port),
                str(page_cache_mb),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdin is not None
            process.stdin.write(password + "\n")
            process.stdin.flush()
            version = _wait_until_ready(process, log.name)
            yield Server(f"bolt://127.0.0.1:{port}", "neo4j", password, version, process)
        finally:
            if home is None:  # an orderly end takes ten seconds, and its files are thrown away
                process.kill()
            process.stdin.close() if process.stdin else None
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[str], log: str) -> str:
    """The version that the server says when it is ready."""
    lines: queue.Queue[str] = queue.Queue()

    def pump() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=pump, daemon=True).start()
    try:
        while line := lines.get(timeout=START_SECONDS):
            if line.startswith("ready "):
                return line.split()[1].rstrip(",")
    except queue.Empty:
        raise NotHere(f"Neo4j was not ready within {START_SECONDS} s: {Path(log).read_text()[-800:]}") from None
    raise NotHere(f"Neo4j did not start: {Path(log).read_text()[-800:]}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    try:
        print(jars())
        if "--serve" in sys.argv:
            with neo4j_server(port=int(sys.argv[sys.argv.index("--serve") + 1])) as server:
                print("ready", server.url, server.version, flush=True)
                sys.stdin.read()
    except NotHere as error:
        sys.exit(str(error))
