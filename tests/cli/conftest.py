from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import save

from tests.builders import start, three_generations
from tests.cli.command import Command, command_at
from tests.cli.world import OTHER, World, card, publish
from tests.fake_hub import FakeHub


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as started:
        yield started


@pytest.fixture
def lineage(hub: FakeHub, tmp_path: Path) -> Command:
    """The command with an empty home, at a loopback Hub."""
    return command_at(tmp_path, hub.url)


@pytest.fixture
def offline(tmp_path: Path) -> Command:
    """The command with an empty home and no Hub."""
    return command_at(tmp_path)


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with FakeHub() as hub:
        home = tmp_path_factory.mktemp("world")
        world = World(hub, command_at(home, hub.url), publish(hub), home)
        done = world.lineage("sync", "--json")
        assert done.code == 0, done.stderr
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """A Hub with a family that `lineage sync` has seen. To be looked at only: all tests share it."""
    shared_world.hub.reset_counts()
    return shared_world


@pytest.fixture
def own_world(shared_world: World, tmp_path: Path) -> World:
    """The same with a store of one's own."""
    shutil.copytree(shared_world.lineage.store, tmp_path / "store")
    shared_world.hub.reset_counts()
    return World(shared_world.hub, command_at(tmp_path, shared_world.hub.url), shared_world.models, tmp_path)


@pytest.fixture
def small_hub() -> Iterator[FakeHub]:
    """A Hub of one's own, with a small family and a model of another architecture."""
    models, parents = three_generations()
    models |= {"other": start(7, OTHER), "again": models["b"]}
    with FakeHub() as hub:
        for name, weights in models.items():
            files = {"README.md": card(parents.get(name)), "model.safetensors": save(weights)}
            hub.add_repo(f"acme/{name}", files)
        yield hub
