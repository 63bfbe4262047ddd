"""Servers and stores that we did not write: Xet's local store as a second reader, and `olah` as a mirror in between."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from lineage.crawler.hub import Hub
from lineage.crawler.hub_errors import HubFailure
from lineage.crawler.pacing import Pacer
from lineage.crawler.walk import CrawlOptions
from lineage.crawler.weights import LocalFile, Weights
from lineage.crawling import crawl_into
from lineage.detect.sketch import plan
from lineage.detect.sketch_store import SketchStore, make_sketch
from lineage.graphdb.schema import Status
from lineage.graphdb.store import open_store
from tests.crawler.toys import Sleeps, repository, weights
from tests.fake_hub import FakeHub

OLAH = os.environ.get("LINEAGE_OLAH") or shutil.which("olah-cli")
needs_olah = pytest.mark.skipif(
    OLAH is None, reason="olah is not installed (pip install olah; or LINEAGE_OLAH=…/olah-cli)"
)


class XetFile:
    """A file in a Xet store, read by ranges through hf_xet, as crawler.weights wants files."""

    def __init__(self, group: object, info: object, name: str):
        self._group, self._info, self.name = group, info, name

    @property
    def size_bytes(self) -> int:
        return int(self._info.file_size)  # type: ignore[attr-defined]

    def read(self, start: int, stop: int) -> bytes:
        return b"".join(self._group.download_stream(self._info, start, stop))  # type: ignore[attr-defined]


def test_a_sample_read_through_xets_own_store_is_the_same(tmp_path: Path) -> None:
    hf_xet = pytest.importorskip("hf_xet")
    tensors = {**weights(1, 8, 128), "embed_tokens.weight": np.ones((300, 128), np.float16)}
    (tmp_path / "model.safetensors").write_bytes(save(tensors))
    (tmp_path / "store").mkdir()
    endpoint = f"local://{tmp_path / 'store'}"
    session = hf_xet.XetSession()
    commit = session.new_upload_commit(endpoint=endpoint)
    upload = commit.start_upload_file(str(tmp_path / "model.safetensors"))
    commit.wait_to_finish()
    group = session.new_download_stream_group(endpoint=endpoint)
    one = Weights([XetFile(group, upload.result().xet_info, "model.safetensors")])
    other = Weights([LocalFile(tmp_path / "model.safetensors")])
    assert one.header == other.header
    sketches = [make_sketch("0", w.header, w.read(plan(w.header))) for w in (one, other)]
    assert sketches[0] == sketches[1] and sketches[0].sampled_values > 0


@pytest.fixture
def mirrored(tmp_path: Path) -> Iterator[tuple[FakeHub, str]]:
    """A loopback Hub with three models, and the address of an olah in front of it."""
    with FakeHub() as fake, socket.socket() as probe:
        for i in range(3):
            fake.add_repo(f"acme/m{i}", repository(i))
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        there, cdn = (url.removeprefix("http://") for url in (fake.url, fake.cdn_url))
        words = ["--host", "127.0.0.1", "--port", str(port), "--hf-scheme", "http", "--hf-netloc", there]
        words += ["--hf-lfs-netloc", cdn, "--mirror-scheme", "http", "--mirror-netloc", f"127.0.0.1:{port}"]
        words += ["--mirror-lfs-netloc", f"127.0.0.1:{port}", "--repos-path", str(tmp_path / "olah")]
        words += ["--log-path", str(tmp_path / "logs")]
        with olah(words, port, tmp_path) as address:
            yield fake, address


@contextmanager
def olah(words: list[str], port: int, folder: Path) -> Iterator[str]:
    """A running olah, and its address."""
    with (folder / "olah.log").open("wb") as log:
        process = subprocess.Popen([str(OLAH), *words], stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(600):
            with socket.socket() as ask:
                if ask.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                pytest.fail(f"olah did not start: {(folder / 'olah.log').read_text()[-800:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def offline_mirror(tmp_path: Path) -> Iterator[str]:
    """The address of an olah that has no Hub behind it, only a git repository on disk."""
    place = tmp_path / "mirrors" / "models" / "acme" / "m0"
    place.mkdir(parents=True)
    for name, content in repository(0).items():
        (place / name).write_bytes(content if isinstance(content, bytes) else content.read())
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for line in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *line], cwd=place, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = f"127.0.0.1:{port}"
    (tmp_path / "olah.toml").write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{tmp_path}/cache"\nlog-path = "{tmp_path}/logs"\n'
        f'mirror-netloc = "{here}"\nmirror-lfs-netloc = "{here}"\nmirrors-path = ["{tmp_path}/mirrors"]\n'
        "[accessibility]\noffline = true\n"
    )
    with olah(["--config", str(tmp_path / "olah.toml")], port, tmp_path) as address:
        yield address


@needs_olah
def test_a_mirror_in_front_of_the_hub_is_noticed_and_nothing_wrong_is_stored(
    mirrored: tuple[FakeHub, str], tmp_path: Path
) -> None:
    fake, mirror = mirrored
    told: list[str] = []
    expected = SketchStore(tmp_path / "expected")
    with open_store(str(tmp_path / "truth")) as truth:
        crawl_into(truth, expected, tmp_path / "p0.sqlite", CrawlOptions(), hub=Hub(fake.url, False))
        right = {model.repo_id: model.weights_digest for model in truth.models()}
    with open_store(str(tmp_path / "store")) as store:
        for number, options in enumerate((CrawlOptions(), CrawlOptions(repos=("acme/m0", "acme/m1", "acme/none")))):
            sleeps = Sleeps()
            hub = Hub(mirror, False, Pacer(3600, sleeps.clock, sleeps))
            kept = SketchStore(tmp_path / "sketches")
            try:
                summary = crawl_into(store, kept, tmp_path / f"p{number + 1}.sqlite", options, hub=hub)
                told += [failure.message for failure in summary.first_failures]
            except HubFailure as failure:
                told.append(failure.message)
        stored = {model.repo_id: model for model in store.models()}
        assert all(model.status is not Status.GONE for model in stored.values())
        for name, model in stored.items():
            if model.status is Status.SKETCHED:
                assert model.weights_digest == right[name]
                assert kept.get(model.weights_digest or "") == expected.get(model.weights_digest or "")
    assert told, "an operator is told that something is wrong with this endpoint"
    print("olah:", *told, sorted((name, str(model.status)) for name, model in stored.items()), sep="\n  ")


@needs_olah
def test_a_mirror_in_place_of_the_hub_that_ignores_ranges_is_dropped_before_it_sends_the_file(
    offline_mirror: str, tmp_path: Path
) -> None:
    told: list[str] = []
    received = 0
    with open_store(str(tmp_path / "store")) as store:
        for number, options in enumerate((CrawlOptions(), CrawlOptions(repos=("acme/m0", "acme/none")))):
            sleeps = Sleeps()
            hub = Hub(offline_mirror, False, Pacer(3600, sleeps.clock, sleeps))
            kept = SketchStore(tmp_path / "sketches")
            try:
                summary = crawl_into(store, kept, tmp_path / f"p{number}.sqlite", options, hub=hub)
                told += [failure.message for failure in summary.first_failures]
            except HubFailure as failure:
                told.append(failure.message)
            received += sum(hub.traffic.summary()["bytes"].values())
        stored = list(store.models())
    hub = Hub(offline_mirror, False)
    with pytest.raises(HubFailure) as refused:
        hub.resolve("acme/m0", "main", "model.safetensors")
    told.append(refused.value.message)
    assert all(model.status is not Status.SKETCHED for model in stored) and received < 100_000
    assert len(told) >= 3, "each way of asking says what is wrong with this endpoint"
    print("olah without a Hub:", *told, sep="\n  ")
