"""The `lineage` command in a process of its own, with the slow imports already done: torch alone would be most of a test's time.

A fork server imports what is slow and reads no environment; every command is then a fork of it that sets its whole environment,
its streams and its arguments and calls what the installed script calls.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRELOADED = [  # nothing that reads the environment when it is imported, as huggingface_hub does
    *("numpy", "torch", "safetensors.numpy", "click", "httpx2", "httpcore2", "rich.progress", "yaml", "filelock"),
    *("apscheduler.schedulers.background", "tests.cli.preloaded"),
]
TIMEOUT_SECONDS = 60
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class CommandResult:
    """A command that ended, with what it printed."""

    code: int | None
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def told(self) -> list[str]:
        """The lines on stderr."""
        return self.stderr.splitlines()


@dataclass
class Running:
    """A command under way."""

    process: Any
    folder: Path

    def wait(self, seconds: float = TIMEOUT_SECONDS) -> bool:
        """Whether it has ended within this time."""
        self.process.join(seconds)
        return self.process.exitcode is not None

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def done(self) -> CommandResult:
        """What came of it."""
        if not self.wait():
            self.kill()
            raise AssertionError(f"still running after {TIMEOUT_SECONDS} s:\n{self.stderr()}")
        return CommandResult(self.process.exitcode, self.stdout(), self.stderr())

    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()


@dataclass
class Command:
    """Runs `lineage` with a store and an environment that no other test sees."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, **environment: str) -> CommandResult:
        return self.start(*arguments, **environment).done()

    def start(self, *arguments: object, **environment: str) -> Running:
        folder = Path(tempfile.mkdtemp(dir=self.home, prefix="run-"))
        for name in ("stdout", "stderr"):
            (folder / name).touch()
        process = _server.Process(
            target=_main, args=([str(a) for a in arguments], self.environment | environment, str(folder)), daemon=True
        )
        process.start()
        return Running(process, folder)

    @property
    def store(self) -> Path:
        return Path(self.environment["LINEAGE_STORE"])


def command_at(home: Path, endpoint: str = "http://127.0.0.1:9", **environment: str) -> Command:
    """A command with `home`/store as its store; by default nothing listens where it looks for the Hub."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    ours = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "LINEAGE_STORE": str(home / "store"),
        "OMP_NUM_THREADS": "1",
    }
    return Command(home, kept | ours | environment)


def _main(arguments: list[str], environment: Mapping[str, str], folder: str) -> None:
    """In the new process."""
    os.environ.clear()
    os.environ.update(environment)
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(Path(folder) / name, os.O_WRONLY | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a fork server ignores it
    sys.argv = ["lineage", *arguments]
    import torch

    torch.set_num_threads(1)
    from lineage.commands import main

    main(arguments)
