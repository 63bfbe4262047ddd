"""Questions to the Hub: the listing, one repository, its files; and every way in which the Hub refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from lineage.crawler.hub import Hub, first_page
from lineage.crawler.hub_errors import (
    BadToken,
    DisabledRepository,
    GatedRepository,
    HubDown,
    HubFailure,
    NoSuchFile,
    NoSuchRepository,
    NoSuchRevision,
    RateLimited,
    UnexpectedAnswer,
    failure_of,
)
from lineage.crawler.pacing import Pacer
from tests.crawler.toys import Sleeps, hub_at, repository
from tests.fake_hub import FakeHub


def test_the_listing_is_paged_to_its_end_and_each_model_comes_once(fake: FakeHub) -> None:
    for i in range(25):
        fake.add_repo(f"acme/m{i}", {"README.md": b""})
    hub, query, seen = hub_at(fake), first_page(page_models=10), []
    while query is not None:
        page = hub.page(query)
        seen += [r.repo_id for r in page.repositories]
        query = page.cursor
    assert sorted(seen) == sorted(f"acme/m{i}" for i in range(25))
    assert fake.counts()["list"].requests == 3


def test_the_listing_tells_everything_needed_to_skip_a_model(fake: FakeHub) -> None:
    when = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    files = repository(1, **{"extra/notes.txt": b""})
    fake.add_repo("acme/tiny", files, created_at=when, downloads=7, library="transformers", gated="auto")
    (found,) = hub_at(fake).page(first_page()).repositories
    assert (found.repo_id, found.downloads, found.library, found.license) == ("acme/tiny", 7, "transformers", "mit")
    assert set(found.files or ()) == set(files)
    assert found.created_at == when and found.gated
    assert {(d.base, d.source) for d in found.declarations} == {("acme/base", "card"), ("acme/base", "tag")}
    assert fake.counts()["info"].requests == 0
    assert found == hub_at(fake).info("acme/tiny")


@pytest.mark.parametrize(
    "item", [None, 3, "text", [], {}, {"id": "a/b"}, {"_id": "6", "id": "../../x"}, {"_id": {}, "id": "a/b"}]
)
def test_a_malformed_item_is_counted_and_the_others_come(fake: FakeHub, item: object) -> None:
    fake.add_repo("acme/tiny", {"README.md": b""})
    fake.faults.malformed_item(item)
    page = hub_at(fake).page(first_page())
    assert [r.repo_id for r in page.repositories] == ["acme/tiny"] and page.malformed == 1


@pytest.mark.parametrize("answer", [{"models": []}, "text", 3, None])
def test_a_listing_that_is_no_list_is_told(fake: FakeHub, answer: object) -> None:
    fake.faults.replace_json(answer, kind="list")
    with pytest.raises(UnexpectedAnswer, match="not a list"):
        hub_at(fake).page(first_page())


def test_an_empty_body_as_some_mirrors_send_is_no_empty_hub(fake: FakeHub) -> None:
    fake.faults.status(200, kind="list", body="")
    with pytest.raises(UnexpectedAnswer, match="not JSON") as failure:
        hub_at(fake).page(first_page())
    assert "mirror" in (failure.value.try_next or "")


def test_a_cursor_that_leads_to_another_host_is_asked_of_our_own(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", {"README.md": b""})
    link = {"Link": '<https://elsewhere.example/api/models?cursor=abc%3D&limit=5>; rel="next"'}
    fake.faults.status(200, kind="list", headers=link, body="[]")
    page = hub_at(fake).page(first_page())
    assert page.cursor == "cursor=abc%3D&limit=5"


def test_a_renamed_repository_is_found_under_its_new_name(fake: FakeHub) -> None:
    old = fake.add_repo("acme/old", repository(1)).hub_id
    fake.rename("acme/old", "acme/new")
    found = hub_at(fake).info("acme/old")
    assert (found.repo_id, found.hub_id) == ("acme/new", old)


def test_letter_case_does_not_matter(fake: FakeHub) -> None:
    fake.add_repo("Acme/Tiny", repository(1))
    assert hub_at(fake).info("acme/tiny").repo_id == "Acme/Tiny"


def test_a_revision_can_be_asked_for(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    hub = hub_at(fake)
    first = hub.info("acme/tiny").sha
    fake.commit("acme/tiny", {"README.md": b"new"})
    assert hub.info("acme/tiny").sha != first
    assert hub.info("acme/tiny", first).sha == first
    with pytest.raises(NoSuchRevision, match="no revision nonsense"):
        hub.info("acme/tiny", "nonsense")


def test_a_missing_repository_is_told_with_and_without_a_token(fake: FakeHub) -> None:
    fake.add_token("hf_good")
    for token in (False, "hf_good"):
        with pytest.raises(NoSuchRepository, match="acme/none") as failure:
            hub_at(fake, token).info("acme/none")
        assert failure.value.exit_code == 4 and failure.value.repo_id == "acme/none"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b/c", "", "a b/c", "a/b?x=1", "a/..", "a\n/b", "https://x/y", "ä/b"]
)
def test_what_cannot_be_a_name_is_not_asked_for(fake: FakeHub, name: str) -> None:
    with pytest.raises(NoSuchRepository, match="not the name"):
        hub_at(fake).info(name)
    assert fake.log() == []


def test_a_bad_token_is_told_and_not_shown(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    with pytest.raises(BadToken) as failure:
        hub_at(fake, "hf_wrong").info("acme/tiny")
    assert "hf_wrong" not in f"{failure.value.message}{failure.value.try_next}"


def test_a_token_with_forbidden_characters_is_told_and_not_shown(fake: FakeHub) -> None:
    with pytest.raises(BadToken) as failure:
        hub_at(fake, "hf_a\nb").info("acme/tiny")
    assert "hf_a" not in str(failure.value)
    with pytest.raises(BadToken):
        hub_at(fake, "hf_ü").info("acme/tiny")


# Status, X-Error-Code and X-Error-Message as the Hub sends them, and whether a token was sent -> what it means.
REFUSALS = [
    (401, "", "Invalid username or password.", False, NoSuchRepository),
    (404, "RepoNotFound", "Repository not found", True, NoSuchRepository),
    (401, "GatedRepo", "Access to model a/b is restricted. You must be authenticated", False, GatedRepository),
    (
        403,
        "GatedRepo",
        "Access to model a/b is restricted and you are not in the authorized list",
        True,
        GatedRepository,
    ),
    (401, "", "Invalid credentials in Authorization header", True, BadToken),
    (401, "", "Invalid username or password.", True, BadToken),
    (403, "", "Access to this resource is disabled.", False, DisabledRepository),
    (451, "", "", False, DisabledRepository),
    (404, "RevisionNotFound", "Invalid rev id: x", False, NoSuchRevision),
    (404, "EntryNotFound", "Entry not found", False, NoSuchFile),
    (400, "", "bad query", False, UnexpectedAnswer),
    (500, "", "", False, HubDown),
    (403, "", "Forbidden", True, HubFailure),
]


@pytest.mark.parametrize(("status", "code", "message", "token", "kind"), REFUSALS)
def test_each_refusal_means_what_the_hub_means(status: int, code: str, message: str, token: bool, kind: type) -> None:
    headers = {"x-error-code": code, "x-error-message": message}
    failure = failure_of(status, headers, b"", "a/b", "x", token)
    assert type(failure) is kind and failure.repo_id == "a/b"
    in_body = failure_of(status, {"x-error-code": code}, json.dumps({"error": message}).encode(), "a/b", "x", token)
    assert type(in_body) is kind


def test_what_a_server_says_is_shortened_to_one_line() -> None:
    failure = failure_of(400, {"x-error-message": "a\x1b[31m\nb" + "x" * 10_000}, b"", "a/b", None, False)
    assert "\n" not in failure.message and "\x1b" not in failure.message and len(failure.message) < 400


def test_a_dead_hub_is_told_within_few_tries() -> None:
    sleeps = Sleeps()
    hub = Hub("http://127.0.0.1:9", False, Pacer(sleep=sleeps))
    with pytest.raises(HubDown, match=r"127\.0\.0\.1 does not answer"):
        hub.info("acme/tiny")
    assert 1 <= len(sleeps) <= 3


@pytest.mark.parametrize("endpoint", ["nonsense", "file:///etc", "ftp://x", "http://"])
def test_what_is_no_endpoint_is_told(endpoint: str) -> None:
    with pytest.raises(HubFailure, match="not the address of a Hub"):
        Hub(endpoint, False)


def test_errors_of_the_edge_are_tried_again(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    sleeps = Sleeps()
    hub = hub_at(fake, sleeps=sleeps)
    for status in (500, 502, 503, 504, 408):
        fake.faults.status(status, kind="info", times=1)
    with pytest.raises(HubDown, match="answers 50"):
        hub.info("acme/tiny")  # five in a row are one too many for three retries
    fake.faults.clear()
    fake.faults.status(504, kind="info", times=2)
    fake.faults.drop_connection(kind="info", times=1, skip=2)
    assert hub.info("acme/tiny").repo_id == "acme/tiny"


def test_the_edge_says_wait_and_we_wait(fake: FakeHub) -> None:
    fake.add_repo("acme/tiny", repository(1))
    sleeps = Sleeps()
    fake.faults.status(429, kind="info", times=1, headers={"Retry-After": "7"})
    fake.faults.status(429, kind="info", times=2)
    assert hub_at(fake, sleeps=sleeps).info("acme/tiny").repo_id == "acme/tiny"
    assert sleeps and sum(sleeps) > 7


def test_a_lookup_does_not_wait_for_minutes(fake: FakeHub) -> None:
    fake.faults.status(429, kind="info", headers={"Retry-After": "240"})
    sleeps = Sleeps()
    with pytest.raises(RateLimited, match="4 minutes") as failure:
        hub_at(fake, sleeps=sleeps, max_wait_seconds=20).info("acme/tiny")
    assert failure.value.repo_id == "acme/tiny" and sleeps == []


@pytest.mark.parametrize("said", ["0", "1.5", "0.5", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"])
def test_a_refusal_that_names_no_wait_gets_no_burst_of_requests(fake: FakeHub, said: str) -> None:
    fake.faults.status(429, kind="info", headers={"Retry-After": said})
    sleeps = Sleeps()
    with pytest.raises(RateLimited, match="does not say for how long"):
        hub_at(fake, sleeps=sleeps, max_wait_seconds=20).info("acme/tiny")
    assert fake.counts()["info"].requests <= 7 and sum(sleeps) > 10


def test_a_refusal_without_end_is_given_up(fake: FakeHub) -> None:
    fake.faults.status(429, kind="info")
    with pytest.raises(RateLimited):
        hub_at(fake).info("acme/tiny")
    assert fake.counts()["info"].requests < 30


def test_redirects_in_circles_end(fake: FakeHub) -> None:
    fake.faults.redirect_to("/api/models/acme/tiny", status=307, kind="info")
    with pytest.raises(UnexpectedAnswer, match="redirected more than"):
        hub_at(fake).info("acme/tiny")


def test_a_redirect_to_another_host_gets_no_token(fake: FakeHub) -> None:
    fake.add_token("hf_good")
    fake.add_repo("acme/tiny", repository(1))
    fake.faults.redirect_to(f"{fake.cdn_url}/elsewhere", kind="info")
    with pytest.raises(HubFailure):
        hub_at(fake, "hf_good").info("acme/tiny")
    assert [("authorization" in r.headers) for r in fake.log()] == [True, False]


def test_the_tree_names_sizes_and_hashes_of_the_wanted_files(fake: FakeHub) -> None:
    files = {f"part-{i:04}.bin": bytes([i % 250]) * 20 for i in range(2100)} | {"zz.safetensors": b"weights"}
    fake.add_repo("acme/many", files)
    hub = hub_at(fake)
    found = hub.tree("acme/many", hub.info("acme/many").sha or "", "", {"zz.safetensors", "not-there.safetensors"})
    assert [(f.path, f.size_bytes) for f in found] == [("zz.safetensors", 7)]
    assert found[0].sha256 is not None
    assert fake.counts()["tree"].requests == 3


@pytest.mark.slow
def test_offline_mode_is_respected() -> None:
    program = (
        "from lineage.crawler.hub import Hub\nfrom lineage.crawler.hub_errors import Offline\n"
        "try:\n    Hub('http://127.0.0.1:9', False).info('acme/tiny')\n"
        "except Offline as failure:\n    print(failure.message, '|', failure.try_next)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "HF_HUB_OFFLINE" in done.stdout and "local folder" in done.stdout


@pytest.mark.slow
def test_the_endpoint_and_the_token_of_the_environment_are_respected(fake: FakeHub) -> None:
    fake.add_token("hf_good", may_read=["acme/secret"])
    fake.add_repo("acme/secret", repository(1), private=True)
    program = "from lineage.crawler.hub import Hub; print(Hub().info('acme/secret').repo_id)"
    environment = {**os.environ, "HF_ENDPOINT": fake.url, "HF_TOKEN": "hf_good"}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "acme/secret"
    agents = {r.headers["user-agent"] for r in fake.log()}
    assert len(agents) == 1 and agents.pop().startswith("lineage/")
    assert {r.kind for r in fake.log()} == {"info"}
