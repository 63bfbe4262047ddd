"""The loopback Hub, checked by the real huggingface_hub client and by facts from recorded answers of the real Hub."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
import pytest
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import (
    BadRequestError,
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers
from safetensors.numpy import save

from tests.fake_hub import FakeHub, StoredFile

TENSORS: dict[str, np.ndarray] = {
    "a.weight": np.arange(1000, dtype=np.float32).reshape(10, 100),
    "a.bias": np.ones(10, dtype=np.float16),
}
WEIGHTS = save(TENSORS)
CONFIG = b'{"architectures": ["TinyModel"], "model_type": "tiny", "hidden_size": 10, "_name_or_path": "acme/base"}'
CARD = b"---\nlicense: mit\nlanguage: en\nbase_model: acme/base\n---\n# Tiny\n"

# Facts of answers recorded from the real Hub on 2026-09-22.
LISTED_FIELDS = ["_id", "id", "likes", "trendingScore", "private", "downloads", "tags", "createdAt", "modelId"]
# fmt: off
INFO_FIELDS = [
    "_id", "id", "private", "tags", "downloads", "likes", "modelId", "author", "sha", "lastModified", "gated",
    "disabled", "model-index", "config", "cardData", "siblings", "spaces", "createdAt", "safetensors", "usedStorage",
]
# fmt: on
GITATTRIBUTES_STYLE_OID = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add_repo("acme/base", {"model.safetensors": WEIGHTS, "config.json": CONFIG, "sub/deep/note.txt": b"hello"})
        hub.add_repo("acme/Tiny", {"model.safetensors": WEIGHTS, "config.json": CONFIG, "README.md": CARD}, downloads=7)
        yield hub


@pytest.fixture
def api(hub: FakeHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=False)


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client() as client:
        yield client


def next_page(response: httpx2.Response) -> str | None:
    return response.links["next"]["url"] if "next" in response.links else None


# --- the real client ------------------------------------------------------------------------------------------------


def test_client_lists_models_over_several_pages_newest_first(hub: FakeHub, api: HfApi) -> None:
    start = datetime(2024, 5, 1, tzinfo=UTC)
    for n in range(25):
        hub.add_repo(f"many/m{n:02d}", {}, created_at=start + timedelta(days=n))
    found = list(itertools.islice(api.list_models(author="many", sort="created_at", limit=10), 25))
    assert [m.id for m in found] == [f"many/m{n:02d}" for n in range(24, 14, -1)]
    response = httpx2.get(f"{hub.url}/api/models?author=many&sort=createdAt&limit=10")
    seen = [row["id"] for row in response.json()]
    while (following := next_page(response)) is not None:
        response = httpx2.get(following)
        seen += [row["id"] for row in response.json()]
    assert seen == [f"many/m{n:02d}" for n in range(24, -1, -1)]


def test_client_reads_info_with_derived_fields(api: HfApi) -> None:
    info = api.model_info("acme/Tiny", files_metadata=True)
    assert info.id == "acme/Tiny" and info.author == "acme" and info.downloads == 7
    assert info.safetensors is not None
    assert info.safetensors.parameters == {"F16": 10, "F32": 1000} and info.safetensors.total == 1010
    assert info.card_data is not None and info.card_data.base_model == "acme/base"
    assert info.config == {"architectures": ["TinyModel"], "model_type": "tiny"}
    assert info.tags is not None
    assert {"base_model:acme/base", "base_model:finetune:acme/base", "license:mit", "safetensors"} <= set(info.tags)
    sizes = {s.rfilename: (s.size, s.lfs.sha256 if s.lfs else None) for s in info.siblings or ()}
    assert sizes["model.safetensors"] == (len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest())
    assert sizes["config.json"] == (len(CONFIG), None)


def test_client_reads_tree_with_real_git_and_lfs_hashes(api: HfApi) -> None:
    entries = {e.path: e for e in api.list_repo_tree("acme/base", recursive=True)}
    assert list(entries) == ["sub", "sub/deep", "config.json", "model.safetensors", "sub/deep/note.txt"]
    weights, config = entries["model.safetensors"], entries["config.json"]
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()  # type: ignore[union-attr]
    assert config.blob_id == GITATTRIBUTES_STYLE_OID  # type: ignore[union-attr]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{weights.lfs.sha256}\nsize {len(WEIGHTS)}\n"  # type: ignore[union-attr]
    assert weights.lfs.pointer_size == len(pointer)  # type: ignore[union-attr]
    assert [e.path for e in api.list_repo_tree("acme/base", "sub/deep")] == ["sub/deep/note.txt"]


def test_git_agrees_with_tree_and_commit_hashes(tmp_path: Path, hub: FakeHub) -> None:
    hub.add_repo("git/files", {"b.txt": b"b", "a/x.txt": b"x", "a-b": b"1", "a.b": b"2"})
    for path, content in {"b.txt": b"b", "a/x.txt": b"x", "a-b": b"1", "a.b": b"2"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)

    def git(*words: str) -> str:
        settings = ["-c", "core.autocrlf=false", "-c", "core.fileMode=false"]
        return subprocess.run(
            ["git", *settings, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", ".")
    assert git("write-tree").strip() == hub.repo("git/files").head.directories[""]


def test_client_downloads_single_files_and_snapshots(api: HfApi, tmp_path: Path) -> None:
    single = api.hf_hub_download("acme/base", "model.safetensors", cache_dir=tmp_path / "a")
    assert Path(single).read_bytes() == WEIGHTS
    folder = Path(api.snapshot_download("acme/base", cache_dir=tmp_path / "b"))
    assert (folder / "sub/deep/note.txt").read_bytes() == b"hello"
    assert folder.name == api.model_info("acme/base").sha


def test_client_reads_safetensors_metadata_of_single_and_sharded_models(hub: FakeHub, api: HfApi) -> None:
    single = api.get_safetensors_metadata("acme/base")
    assert single.parameter_count == {"F16": 10, "F32": 1000} and not single.sharded
    shards = {f"model-0000{i + 1}-of-00002.safetensors": {n: TENSORS[n]} for i, n in enumerate(TENSORS)}
    index = {"metadata": {"total_size": 4020}, "weight_map": {n: f for f, t in shards.items() for n in t}}
    files = {name: save(tensors) for name, tensors in shards.items()}
    hub.add_repo("acme/sharded", {**files, "model.safetensors.index.json": json.dumps(index).encode()})
    sharded = api.get_safetensors_metadata("acme/sharded")
    assert sharded.sharded and sharded.weight_map == index["weight_map"]
    assert api.model_info("acme/sharded").safetensors.total == 1010  # type: ignore[union-attr]


def test_sharded_headers_come_in_one_request_where_switched_on() -> None:
    index = {"metadata": {}, "weight_map": {"a.weight": "w-1.safetensors"}}
    files = {"w-1.safetensors": WEIGHTS, "model.safetensors.index.json": json.dumps(index).encode()}
    for switched_on in (True, False):
        with FakeHub(sharded_headers=switched_on) as hub:
            hub.add_repo("acme/sharded", files)
            api = HfApi(endpoint=hub.url, token=False)
            if switched_on:
                found = api.get_sharded_safetensors_metadata("acme/sharded")
                assert set(found.files_metadata["w-1.safetensors"].tensors) == set(TENSORS)
            else:
                with pytest.raises(HfHubHTTPError, match="404"):
                    api.get_sharded_safetensors_metadata("acme/sharded")


def test_client_file_system_reads_ranges(hub: FakeHub) -> None:
    files = HfFileSystem(endpoint=hub.url, token=False)
    assert files.cat_file("acme/base/model.safetensors", start=10, end=50) == WEIGHTS[10:50]
    with files.open("acme/base/model.safetensors", cache_type="none") as file:
        file.seek(100)
        assert file.read(11) == WEIGHTS[100:111]


def test_client_meets_its_own_error_classes(hub: FakeHub, api: HfApi) -> None:
    hub.add_repo("acme/gated", {"model.safetensors": WEIGHTS}, gated="manual")
    hub.add_repo("acme/disabled", {"model.safetensors": WEIGHTS}, disabled=True)
    token = hub.add_token("hf_stranger", user="stranger")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("acme/base", revision="nope")
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download("acme/base", "nope.bin")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/nope", token=token)
    for who in (False, token):
        with pytest.raises(GatedRepoError):
            api.hf_hub_download("acme/gated", "model.safetensors", token=who)
    with pytest.raises(DisabledRepoError):
        api.get_hf_file_metadata(url=f"{hub.url}/acme/disabled/resolve/main/model.safetensors")
    with pytest.raises(BadRequestError):
        next(iter(api.list_models(expand=["usedStorage"])))
    assert api.model_info("acme/gated").gated == "manual" and api.model_info("acme/disabled").disabled is True


def test_client_reads_commits_refs_and_paths(hub: FakeHub, api: HfApi) -> None:
    first = api.model_info("acme/base").sha
    second = hub.commit("acme/base", {"README.md": CARD, "sub/deep/note.txt": None}, title="Add a card")
    assert [(c.commit_id, c.title) for c in api.list_repo_commits("acme/base")] == [
        (second, "Add a card"),
        (first, "initial commit"),
    ]
    assert api.list_repo_refs("acme/base").branches[0].target_commit == second
    assert [p.path for p in api.get_paths_info("acme/base", ["config.json", "sub/deep/note.txt"])] == ["config.json"]
    assert api.model_info("acme/base", revision=first).sha == first
    assert hub.squash("acme/base") not in (first, second)
    with pytest.raises(RevisionNotFoundError):
        api.model_info("acme/base", revision=first)


# --- shapes and headers, as recorded --------------------------------------------------------------------------------


def test_rows_and_info_have_the_recorded_fields_in_the_recorded_order(hub: FakeHub, http: httpx2.Client) -> None:
    files = {
        "config.json": b'{"model_type": "gpt2"}',
        "README.md": b"---\nlicense: mit\n---\n",
        "model.safetensors": WEIGHTS,
    }
    hub.add_repo("wz/gpt2", files, created_at=datetime(2026, 9, 22, 17, 25, 10, tzinfo=UTC))
    (row,) = http.get(f"{hub.url}/api/models?author=wz&limit=5&search=gpt2").json()
    assert list(row) == LISTED_FIELDS
    assert row["_id"].startswith("6ab2b9f6") and row["createdAt"] == "2026-09-22T17:25:10.000Z"
    assert list(http.get(f"{hub.url}/api/models/wz/gpt2").json()) == INFO_FIELDS
    expanded = http.get(f"{hub.url}/api/models?author=wz&expand=sha&expand=safetensors").json()
    assert [list(r) for r in expanded] == [["_id", "id", "sha", "safetensors"]]


def test_missing_and_private_repositories_answer_anonymous_callers_alike(hub: FakeHub, http: httpx2.Client) -> None:
    hub.add_repo("acme/secret", {"model.safetensors": WEIGHTS}, private=True)
    answers = [http.get(f"{hub.url}/api/{path}") for path in ("models/acme/secret", "models/acme/nope", "whoami-v2")]
    for answer in answers:
        assert answer.status_code == 401 and answer.json() == {"error": "Invalid username or password."}
        assert answer.headers["etag"] == 'W/"29-dEMcHWfJi78ZR1aqzb1ELAhp3Us"'  # as recorded: same body, same tag
        assert "x-error-code" not in answer.headers
        assert answer.headers["x-error-message"] == "Invalid username or password."
    owner = {"Authorization": f"Bearer {hub.add_token('hf_owner', user='acme')}"}
    assert http.get(f"{hub.url}/api/models/acme/secret", headers=owner).status_code == 200
    assert "acme/secret" not in http.get(f"{hub.url}/api/models").text
    assert "acme/secret" in http.get(f"{hub.url}/api/models", headers=owner).text
    bad = http.get(f"{hub.url}/api/models/acme/base", headers={"Authorization": "Bearer hf_wrong"})
    assert bad.status_code == 401 and bad.headers["x-error-message"] == "Invalid credentials in Authorization header"


def test_error_answers_have_the_recorded_codes_and_bodies(hub: FakeHub, http: httpx2.Client) -> None:
    revision = http.get(f"{hub.url}/api/models/acme/base/revision/does-not-exist")
    assert revision.headers["etag"] == 'W/"2a-TQAfhukuCBO4wOfjXb5rePuXRN0"'
    tree = http.get(f"{hub.url}/api/models/acme/base/tree/main/does-not-exist")
    assert (
        tree.headers["etag"] == 'W/"35-jZQ7A3f4ZSHOkgDs8j0Aact1hjE"' and tree.headers["x-error-code"] == "EntryNotFound"
    )
    file = http.get(f"{hub.url}/acme/base/resolve/main/does-not-exist.txt")
    assert (file.status_code, file.text, file.headers["x-error-code"]) == (404, "Entry not found", "EntryNotFound")
    assert "x-repo-commit" not in file.headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_resolve_sends_large_files_to_the_other_origin(hub: FakeHub, http: httpx2.Client, method: str) -> None:
    answer = http.request(method, f"{hub.url}/acme/base/resolve/main/model.safetensors")
    assert answer.status_code == 302 and answer.headers["location"].startswith(hub.cdn_url + "/")
    assert answer.headers["x-linked-size"] == str(len(WEIGHTS))
    assert answer.headers["x-linked-etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert re.fullmatch("[0-9a-f]{40}", answer.headers["x-repo-commit"]) and "x-xet-hash" not in answer.headers
    final = http.request(method, answer.headers["location"])
    assert final.status_code == 200 and final.headers["content-length"] == str(len(WEIGHTS))
    assert hashlib.sha256(WEIGHTS).hexdigest() not in final.headers["etag"]


def test_resolve_sends_small_files_to_a_relative_address(hub: FakeHub, http: httpx2.Client) -> None:
    answer = http.get(f"{hub.url}/acme/base/resolve/main/config.json")
    assert answer.status_code == 307 and answer.headers["location"].startswith("/api/resolve-cache/models/acme/base/")
    assert answer.headers["x-linked-etag"] == f'"{GITATTRIBUTES_STYLE_OID}"' and "x-linked-size" not in answer.headers
    assert answer.text == f"Temporary Redirect. Redirecting to {answer.headers['location']}"
    assert http.get(hub.url + answer.headers["location"]).content == CONFIG


def test_text_may_come_compressed() -> None:
    with FakeHub(gzip_text=True) as hub:
        hub.add_repo("acme/base", {"config.json": CONFIG})
        address = f"{hub.url}/acme/base/resolve/main/config.json"
        packed = httpx2.get(address, follow_redirects=True)
        assert packed.headers["content-encoding"] == "gzip" and packed.content == CONFIG
        plain = httpx2.get(address, follow_redirects=True, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers and plain.content == CONFIG


def test_xet_hashes_are_announced_where_switched_on() -> None:
    with FakeHub(xet=True) as hub:
        hub.add_repo("acme/base", {"model.safetensors": WEIGHTS})
        answer = httpx2.head(f"{hub.url}/acme/base/resolve/main/model.safetensors")
        assert re.fullmatch("[0-9a-f]{64}", answer.headers["x-xet-hash"])
        assert set(answer.links) == {"xet-auth", "xet-reconstruction-info"}
        (entry,) = httpx2.get(f"{hub.url}/api/models/acme/base/tree/main").json()
        assert entry["xetHash"] == answer.headers["x-xet-hash"]


# --- ranges, signatures, tokens -------------------------------------------------------------------------------------


def signed(hub: FakeHub, repo_id: str = "acme/base") -> str:
    return httpx2.head(f"{hub.url}/{repo_id}/resolve/main/model.safetensors").headers["location"]


@pytest.mark.parametrize(
    ("wanted", "start", "stop"), [("0-7", 0, 8), ("100-", 100, None), ("-5", -5, None), ("5-99999999", 5, None)]
)
def test_ranges_give_exactly_their_bytes(
    hub: FakeHub, http: httpx2.Client, wanted: str, start: int, stop: int | None
) -> None:
    answer = http.get(signed(hub), headers={"Range": f"bytes={wanted}"})
    expected = WEIGHTS[start:stop]
    first = start % len(WEIGHTS)
    assert answer.status_code == 206 and answer.content == expected
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(WEIGHTS)}"


def test_ranges_past_the_end_are_refused_and_several_ranges_give_the_whole(hub: FakeHub, http: httpx2.Client) -> None:
    past = http.get(signed(hub), headers={"Range": f"bytes={len(WEIGHTS)}-"})
    assert past.status_code == 416 and past.headers["content-range"] == f"bytes */{len(WEIGHTS)}"
    several = http.get(signed(hub), headers={"Range": "bytes=0-1,4-5"})
    assert several.status_code == 200 and several.content == WEIGHTS


def test_sparse_file_of_16_gigabytes_is_served_by_ranges(hub: FakeHub, http: httpx2.Client, tmp_path: Path) -> None:
    size = 16 * 1024**3
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    hub.add_repo("acme/huge", {"model.safetensors": StoredFile(tmp_path / "huge.safetensors", "ab" * 32)})
    answer = http.get(signed(hub, "acme/huge"), headers={"Range": f"bytes={size - 5}-"})
    assert answer.content == b"\0\0end" and answer.headers["content-range"].endswith(f"/{size}")
    assert hub.counts()["cdn"].bytes == 5


@pytest.mark.slow
def test_signatures_expire_and_cannot_be_forged(http: httpx2.Client) -> None:
    with FakeHub(signature_seconds=0.2) as hub:
        hub.add_repo("acme/base", {"model.safetensors": WEIGHTS})
        address = signed(hub)
        assert http.get(address).status_code == 200
        assert http.get(address.replace("Expires=", "Expires=9")).status_code == 403
        deadline = time.monotonic() + 10
        while http.get(address).status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert http.get(address).status_code == 403
    with FakeHub() as hub:
        hub.add_repo("acme/base", {"model.safetensors": WEIGHTS})
        address = signed(hub)
        hub.expire_addresses()
        assert http.get(address).status_code == 403 and http.get(signed(hub)).status_code == 200


def test_token_sent_to_the_cdn_is_refused_and_shows_in_the_log(hub: FakeHub, http: httpx2.Client) -> None:
    token = hub.add_token("hf_mine")
    assert http.get(signed(hub), headers={"Authorization": f"Bearer {token}"}).status_code == 400
    assert [r.origin for r in hub.log() if "authorization" in r.headers] == ["cdn"]
    hub.reset_counts()
    HfApi(endpoint=hub.url, token=token).parse_safetensors_file_metadata("acme/base", "model.safetensors")
    assert {(r.origin, "authorization" in r.headers) for r in hub.log()} == {("api", True), ("cdn", False)}


def test_renamed_and_differently_written_names_redirect(hub: FakeHub, http: httpx2.Client) -> None:
    hub.rename("acme/base", "megacorp/base-v1")
    answer = http.get(f"{hub.url}/api/models/acme/base?expand=sha")
    assert answer.status_code == 307 and answer.headers["location"] == "/api/models/megacorp/base-v1?expand=sha"
    tree = http.get(f"{hub.url}/api/models/ACME/tiny/tree/main?recursive=true")
    assert tree.headers["location"] == "/api/models/acme/Tiny/tree/main?recursive=true"
    assert http.head(f"{hub.url}/acme/base/resolve/main/model.safetensors").status_code == 302  # no detour here
    assert HfApi(endpoint=hub.url, token=False).model_info("acme/base").id == "megacorp/base-v1"
    hub.add_repo("acme/base", {})
    assert http.get(f"{hub.url}/api/models/acme/base").json()["siblings"] == []  # the name has a new owner
    hub.delete("acme/base")
    hub.delete("megacorp/base-v1")
    assert http.get(f"{hub.url}/api/models/megacorp/base-v1").status_code == 401


# --- quotas ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_quota_is_announced_then_refused_then_renewed(http: httpx2.Client) -> None:
    with FakeHub(quotas={"api": 3}, window_seconds=1) as hub:
        hub.add_repo("acme/base", {"config.json": CONFIG})
        left = [parse_ratelimit_headers(http.get(f"{hub.url}/api/models/x/y").headers) for _ in range(3)]
        assert [(i.remaining, i.limit, i.window_seconds) for i in left if i] == [(2, 3, 1), (1, 3, 1), (0, 3, 1)]
        refused = http.get(f"{hub.url}/api/models")
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert http.head(f"{hub.url}/acme/base/resolve/main/config.json").status_code == 307  # another class
        token = {"Authorization": f"Bearer {hub.add_token('hf_mine')}"}
        assert http.get(f"{hub.url}/api/models", headers=token).status_code == 200  # another caller
        time.sleep(1.05)
        assert http.get(f"{hub.url}/api/models").status_code == 200
        redirect = http.get(f"{hub.url}/api/models/ACME/base")
        assert redirect.status_code == 307 and '"api"' in redirect.headers["ratelimit"]


# --- listing --------------------------------------------------------------------------------------------------------


def test_listing_filters_by_tag_base_search_and_gate(hub: FakeHub, api: HfApi) -> None:
    hub.add_repo("other/gated", {}, gated="auto", tags=["odd"])
    hub.add_repo("other/merge", {}, card_data={"base_model": ["acme/base", "acme/Tiny"]})

    def names(**query: object) -> set[str]:
        return {m.id for m in api.list_models(**query)}  # type: ignore[arg-type]

    assert names(filter="base_model:finetune:acme/base") == {"acme/Tiny"}
    assert names(filter="base_model:acme/base") == {"acme/Tiny", "other/merge"}
    assert names(filter=["base_model:merge:acme/base"]) == {"other/merge"}
    assert names(filter="odd") == names(gated=True) == {"other/gated"}
    assert names(search="TIN") == {"acme/Tiny"} and names(author="other") == {"other/gated", "other/merge"}


def test_children_and_bases_are_counted_on_one_model(hub: FakeHub, http: httpx2.Client) -> None:
    base = http.get(f"{hub.url}/api/models/acme/base?expand=childrenModelCount").json()
    assert base["childrenModelCount"] == {"adapter": 0, "merge": 0, "quantized": 0, "finetune": 1}
    child = http.get(f"{hub.url}/api/models/acme/Tiny?expand=baseModels").json()
    assert child["baseModels"] == {"relation": "finetune", "models": [{"_id": base["_id"], "id": "acme/base"}]}


def test_a_million_rows_are_listed_page_by_page_beside_real_ones(hub: FakeHub, http: httpx2.Client) -> None:
    hub.make_lots(1_000_000, created_at=datetime(2025, 6, 1, tzinfo=UTC), step=timedelta(seconds=10))
    created = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(seconds=999_995 * 10 + 5)
    hub.add_repo("acme/young", {}, created_at=created, last_modified=created + timedelta(minutes=1))
    for sort in ("createdAt", "lastModified"):
        address = f"{hub.url}/api/models?sort={sort}&limit=4&expand=siblings"
        first = http.get(address)
        second = http.get(next_page(first) or "")
        seen = [row["id"] for row in [*first.json(), *second.json()]]
        assert len(set(seen)) == 8 and "acme/young" in seen
        assert [n for n in seen if n != "acme/young"] == [f"lots/model-{n:09d}" for n in range(999_999, 999_992, -1)]
    info = http.get(f"{hub.url}/api/models/lots/model-000000042").json()
    assert info["downloads"] == 42 and {"rfilename": "model.pkl"} in info["siblings"]
    assert http.get(f"{hub.url}/api/models/lots/model-001000000").status_code == 401


def test_ties_are_listed_once_each_whatever_the_page_size(hub: FakeHub, http: httpx2.Client) -> None:
    hub.make_lots(23)
    for limit in (1, 4, 25, 1000):
        seen, address = [], f"{hub.url}/api/models?limit={limit}"  # all trending scores are 0
        while address:
            answer = http.get(address)
            seen += [row["id"] for row in answer.json()]
            address = next_page(answer) or ""
        assert len(seen) == len(set(seen)) == 25


def test_serving_folders_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "acme" / "base" / "sub").mkdir(parents=True)
    (tmp_path / "acme" / "base" / "model.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "acme" / "base" / "sub" / "a.txt").write_bytes(b"a")
    command = [sys.executable, "-m", "tests.fake_hub", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            api = HfApi(endpoint=server.stdout.readline().strip(), token=False)
            assert [m.id for m in api.list_models()] == ["acme/base"]
            assert sorted(api.list_repo_files("acme/base")) == ["model.safetensors", "sub/a.txt"]
        finally:
            server.terminate()
