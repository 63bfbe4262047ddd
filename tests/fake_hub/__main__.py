"""`python -m tests.fake_hub FOLDER [--port N]`: serve the folders `org/name/...` below FOLDER as repositories."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.fake_hub import FakeHub


def publish_folders(hub: FakeHub, folder: Path) -> list[str]:
    """Every `org/name` with at least one file becomes a repository, created at the time of its oldest file."""
    published = []
    for repository in sorted(p for p in folder.glob("*/*") if p.is_dir() and not p.name.startswith(".")):
        files = {p.relative_to(repository).as_posix(): p for p in sorted(repository.rglob("*")) if p.is_file()}
        if not files:
            continue
        created = datetime.fromtimestamp(min(int(p.stat().st_mtime) for p in files.values()), UTC)
        repo_id = f"{repository.parent.name}/{repository.name}"
        hub.add_repo(repo_id, dict(files), created_at=created)
        published.append(repo_id)
    return published


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", default=0, help="Port of the API origin; a free one by default.")
def main(folder: Path, port: int) -> None:
    """Serve the folders org/name/... below FOLDER as repositories of a Hub on 127.0.0.1."""
    with FakeHub(port=port) as hub:
        published = publish_folders(hub, folder)
        click.echo(hub.url)
        click.echo(f"{len(published)} repositories. Use it with: export HF_ENDPOINT={hub.url}", err=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            click.echo("stopped", err=True)


if __name__ == "__main__":
    main()
