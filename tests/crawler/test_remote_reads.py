"""Ranged reads of weight files: what a good storage costs, and what a bad one can do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lineage.crawler import transport
from lineage.crawler.hub import FileEntry, Hub, RangeRefused
from lineage.crawler.hub_errors import GatedRepository, HubFailure, NoSuchFile, StorageDown, UnexpectedAnswer
from lineage.crawler.pacing import Pacer
from lineage.crawler.remote import RemoteFile
from lineage.crawler.weights import Weights
from lineage.detect.sketch import Block, plan
from tests.crawler.toys import CARD, Sleeps, hub_at, model_file, repository, weights
from tests.fake_hub import FakeHub

TOKEN = "hf_verysecrettoken"


def file_of(fake: FakeHub, hub: Hub, repo_id: str = "acme/tiny", name: str = "model.safetensors") -> RemoteFile:
    return RemoteFile(hub, repo_id, hub.info(repo_id).sha or "", name)


def test_a_sample_costs_one_resolve_one_header_and_its_blocks(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", {"model.safetensors": model_file(3, tensors=8, width=256)})
    tensors = weights(3, tensors=8, width=256)
    file = file_of(fake, hub_at(fake))
    fake.reset_counts()
    blocks = [Block(f"layers.{i}.weight", 256 * 100, 256 * 116) for i in (1, 4, 6)]
    found = dict(Weights([file]).read(blocks))
    assert {b.tensor: found[b] for b in blocks} == {b.tensor: tensors[b.tensor][100:116].tobytes() for b in blocks}
    counts = fake.counts()
    assert (counts["resolve"].requests, counts["cdn"].requests) == (1, 1 + len(blocks))
    assert counts["cdn"].bytes == 64 * 1024 + 3 * 16 * 256 * 4


def test_neighbouring_blocks_are_read_together(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", {"model.safetensors": model_file(3, tensors=8, width=128)})
    file = file_of(fake, hub_at(fake))
    tensors = weights(3, tensors=8, width=128)
    blocks = [Block(f"layers.{i}.weight", 0, 128 * 128) for i in range(8)]
    fake.reset_counts()
    assert {b.tensor: raw for b, raw in Weights([file]).read(blocks)} == {n: t.tobytes() for n, t in tensors.items()}
    assert fake.counts()["cdn"].requests == 2


def test_no_byte_of_a_small_file_is_sent_twice(fake: FakeHub) -> None:
    content = model_file(1)
    fake.add_repo("acme/tiny", {"model.safetensors": content})
    file = file_of(fake, hub_at(fake))
    opened = Weights([file])
    assert len(dict(opened.read(plan(opened.header)))) == len(opened.header)
    assert fake.counts()["cdn"].bytes == len(content)


def test_parallel_reads_give_the_same_bytes(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", {"model.safetensors": model_file(3, tensors=12, width=256)})
    hub = hub_at(fake)
    blocks = [Block(f"layers.{i}.weight", 256, 256 * 9) for i in range(12)]
    alone = list(Weights([file_of(fake, hub)]).read(blocks))
    assert list(Weights([file_of(fake, hub)], parallel=6).read(blocks)) == alone


FAULTS: dict[str, Callable[[FakeHub], object]] = {
    "a server that ignores ranges": lambda fake: fake.faults.ignore_range(),
    "a wrong Content-Range": lambda fake: fake.faults.wrong_content_range(shift=8),
    "fewer bytes than asked for": lambda fake: fake.faults.short_body(missing=5),
    "a compressed body": lambda fake: fake.faults.gzip_body(),
    "an endless body": lambda fake: fake.faults.endless_body(limit_bytes=1 << 24),
    "a redirect elsewhere": lambda fake: fake.faults.redirect_to("http://127.0.0.1:9/x", kind="cdn"),
    "a body that always breaks off": lambda fake: fake.faults.cut_after_bytes(1000),
    "connections that always drop": lambda fake: fake.faults.drop_connection(kind="cdn"),
    "server errors without end": lambda fake: fake.faults.status(503, kind="cdn"),
    "refusal after refusal": lambda fake: fake.faults.status(403, kind="cdn"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_bad_storage_is_a_failure_and_never_wrong_bytes(fake: FakeHub, what: str) -> None:
    fake.add_repo("acme/tiny", {"model.safetensors": model_file(3, tensors=8, width=512)})
    file = file_of(fake, hub_at(fake))
    FAULTS[what](fake)
    with pytest.raises((RangeRefused, StorageDown, HubFailure)) as failure:
        file.read(0, 100_000)
    assert failure.value.repo_id == "acme/tiny"
    fake.faults.clear()
    assert file.read(200, 300) == model_file(3, tensors=8, width=512)[200:300]


def test_a_server_that_ignores_ranges_is_dropped_before_it_sends_the_file(fake: FakeHub) -> None:
    fake.add_repo("acme/big", {"model.safetensors": bytes(64 * 1024 * 1024)})
    file = file_of(fake, hub_at(fake), "acme/big")
    fake.faults.ignore_range()
    with pytest.raises(RangeRefused, match="ignores ranges"):
        file.read(0, 1000)
    assert fake.counts()["cdn"].bytes < 16 * 1024 * 1024


@pytest.mark.slow
def test_a_body_that_trickles_without_end_is_given_up(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    hub = Hub(fake.url, False, Pacer(sleep=Sleeps()), retries=1, answer_seconds=0.3)
    file = file_of(fake, hub)
    fake.faults.trickle(bytes_per_second=1000)
    with pytest.raises(StorageDown, match=r"not complete after 0\.3 seconds"):
        file.read(0, 60_000)
    assert fake.counts()["cdn"].requests == 2


def test_a_body_cut_once_is_read_again(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    sleeps = Sleeps()
    file = file_of(fake, hub_at(fake, sleeps=sleeps))
    fake.faults.cut_after_bytes(500, times=2)
    assert file.read(0, 4000) == model_file(1)[:4000]
    assert len(sleeps) == 2 and sleeps[1] > sleeps[0] > 0


def test_an_expired_signature_is_renewed_once_in_the_middle(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    file = file_of(fake, hub_at(fake))
    assert file.read(0, 10) == model_file(1)[:10]
    fake.expire_addresses()
    fake.reset_counts()
    assert file.read(70_000, 70_100) == model_file(1)[70_000:70_100]
    assert fake.counts()["resolve"].requests == 1 and fake.counts()["cdn"].requests == 2


def test_a_file_that_changes_under_its_address_is_noticed(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    hub = hub_at(fake)
    sha = hub.info("acme/tiny").sha or ""
    other = RemoteFile(hub, "acme/tiny", sha, "model.safetensors", FileEntry("model.safetensors", None, "0" * 64))
    with pytest.raises(RangeRefused, match="not what was listed"):
        other.read(0, 10)
    wrong_size = RemoteFile(hub, "acme/tiny", sha, "model.safetensors", FileEntry("model.safetensors", 99, None))
    with pytest.raises(RangeRefused, match="not what was listed"):
        wrong_size.read(0, 10)


def test_the_token_goes_to_the_hub_and_never_to_the_storage(fake: FakeHub, caplog: pytest.LogCaptureFixture) -> None:
    fake.add_token(TOKEN, may_read=["acme/secret"])
    fake.add_repo("acme/secret", repository(1), private=True)
    caplog.set_level("DEBUG", logger="lineage.crawler")
    file = file_of(fake, hub_at(fake, TOKEN), "acme/secret")
    fake.faults.status(503, kind="cdn", times=1)
    assert file.read(0, 100) == model_file(1)[:100]
    by_origin = {r.origin: [q.headers for q in fake.log() if q.origin == r.origin] for r in fake.log()}
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for headers in by_origin["api"])
    assert not any("authorization" in headers for headers in by_origin["cdn"])
    assert caplog.records and TOKEN not in caplog.text and "Signature=" not in caplog.text


def test_a_file_is_found_under_the_repositorys_former_name(fake: FakeHub) -> None:
    fake.add_repo("Acme/Old", repository(1))
    sha = hub_at(fake).info("Acme/Old").sha or ""
    fake.rename("Acme/Old", "acme/new")
    for name in ("Acme/Old", "ACME/NEW"):
        assert RemoteFile(hub_at(fake), name, sha, "model.safetensors").read(0, 50) == model_file(1)[:50]


def test_small_files_of_git_are_read_through_their_redirect(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    hub = hub_at(fake)
    assert hub.small_file("acme/tiny", hub.info("acme/tiny").sha or "", "README.md") == CARD


def test_a_small_file_that_is_large_is_refused(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", {"config.json": b"x" * 5000})
    with pytest.raises(UnexpectedAnswer, match="more than 1000 bytes"):
        hub_at(fake).small_file("acme/tiny", "main", "config.json", limit_bytes=1000)


@pytest.mark.slow
def test_a_compressed_bomb_is_cut_off(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", {"README.md": b"x"})
    fake.faults.replace_json("a" * 50_000_000, kind="info")
    fake.faults.gzip_body(kind="info")
    with pytest.raises(UnexpectedAnswer, match="more than was asked for"):
        hub_at(fake).info("acme/tiny")
    assert fake.counts()["info"].bytes < 1_000_000


def test_a_body_that_is_not_compressed_as_it_says_is_no_answer(fake: FakeHub) -> None:
    fake.faults.status(200, kind="info", headers={"Content-Encoding": "gzip"}, body="plain")
    with pytest.raises(UnexpectedAnswer, match="cannot be read"):
        hub_at(fake).info("acme/tiny")


def test_a_missing_file_and_a_gated_one_are_told_apart(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    fake.add_repo("acme/gated", repository(2), gated="manual")
    hub = hub_at(fake)
    with pytest.raises(NoSuchFile):
        file_of(fake, hub, name="other.safetensors").read(0, 1)
    with pytest.raises(GatedRepository, match="gated") as failure:
        file_of(fake, hub, "acme/gated").read(0, 1)
    assert "HF_TOKEN" in (failure.value.try_next or "")


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:pass@127.0.0.1/x", "http://[broken/"]
)
def test_a_resolve_that_leads_astray_is_not_followed(fake: FakeHub, target: str) -> None:
    fake.add_repo("acme/tiny", repository(1))
    file = file_of(fake, hub_at(fake))
    fake.faults.redirect_to(target, kind="resolve")
    with pytest.raises(UnexpectedAnswer):
        file.read(0, 1)


@pytest.mark.slow
def test_a_storage_that_sends_little_is_named_once(
    fake: FakeHub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(transport, "SLOW_BYTES_PER_SECOND", 20_000)
    fake.add_repo("acme/tiny", repository(1))
    file = file_of(fake, Hub(fake.url, False, Pacer(sleep=Sleeps()), retries=2, answer_seconds=0.5))
    fake.faults.trickle(bytes_per_second=1000)
    with pytest.raises(StorageDown):
        file.read(0, 60_000)
    said = [record.getMessage() for record in caplog.records if " is slow: " in record.getMessage()]
    assert len(said) == 1 and "an answer is waited for until " in said[0]
