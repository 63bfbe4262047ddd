"""Addresses, revisions and paths that people write for a repository, and the name that they mean."""

from __future__ import annotations

import pytest

from lineage.crawler.listing import declarations
from lineage.crawler.repo_names import is_repo_id, repo_and_revision, repo_id_of

SAME = [
    "acme/a",
    " acme/a ",
    "acme/a/",
    "acme/a@main",
    "acme/a@refs/pr/1",
    "acme/a:Q4_K_M",
    "acme/a/tree/main",
    "https://huggingface.co/acme/a",
    "http://huggingface.co/acme/a/",
    "HTTPS://HuggingFace.co/acme/a",
    "https://www.huggingface.co/acme/a?library=transformers#usage",
    "https://huggingface.co/acme/a/tree/main",
    "https://huggingface.co:443/acme/a",
    "https://huggingface.co/acme/a).",
    "//huggingface.co/acme/a",
    "git@hf.co:acme/a.git",
    "ssh://git@hf.co/acme/a",
    "https://huggingface.co/acme/a/blob/main/README.md",
    "https://huggingface.co/acme/a/resolve/0123abc/model.safetensors?download=true",
    "https://huggingface.co/acme/a/discussions/3",
    "https://huggingface.co/acme/a.git",
    "https://huggingface.co/models/acme/a",
    "https://user@huggingface.co/acme/a",
    "https://hf.co/acme/a",
    "hf.co/acme/a:Q8_0",
    "huggingface.co/acme/a",
    "hf://acme/a",
    "hf://models/acme/a@main",
    "https://hf-mirror.com/acme/a",
    "[a](https://huggingface.co/acme/a)",
    "<https://huggingface.co/acme/a>",
    "`acme/a`",
    "'acme/a'",
    "/root/.cache/huggingface/hub/models--acme--a/snapshots/0123abc",
    "C:\\Users\\me\\.cache\\huggingface\\hub\\models--acme--a\\snapshots\\0123abc",
]


@pytest.mark.parametrize("text", SAME)
def test_every_way_to_write_a_repository_means_its_name(text: str) -> None:
    assert repo_id_of(text) == "acme/a"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/acme/a",
        "./a",
        "../a",
        "~/a",
        "/data/checkpoints/run1",
        "C:\\models\\base",
        "acme/a/b",
        "https://github.com/acme/a",
        "https://huggingface.co/datasets/acme/a",
        "https://huggingface.co/spaces/acme/a",
        "https://huggingface.co/",
        "https://huggingface.co.evil.example/acme/a",
        "ftp://huggingface.co/acme/a",
        "https://[::1/acme/a",
        "a b",
        "x" * 5_000,
    ],
)
def test_what_names_no_repository_of_the_hub_is_left_as_it_is(text: str) -> None:
    assert repo_id_of(text) is None


def test_names_without_an_organisation_are_names() -> None:
    assert repo_id_of("https://huggingface.co/gpt2") == repo_id_of("gpt2") == "gpt2"
    assert repo_id_of("https://huggingface.co/gpt2/tree/main") == "gpt2"
    assert is_repo_id("gpt2") and not is_repo_id("gpt2/")


def test_the_revision_comes_along() -> None:
    assert repo_and_revision("https://huggingface.co/acme/a/tree/v1.0") == ("acme/a", "v1.0")
    assert repo_and_revision("acme/a@refs/pr/1") == ("acme/a", "refs/pr/1")
    assert repo_and_revision("acme/a") == ("acme/a", None)


def test_addresses_of_another_hub_count_where_it_is_the_one_asked() -> None:
    assert repo_id_of("http://127.0.0.1:8080/acme/a", "http://127.0.0.1:8080") == "acme/a"
    assert repo_id_of("http://127.0.0.1:8081/acme/a", "http://127.0.0.1:8080") is None
    assert repo_id_of("http://127.0.0.1:8080/acme/a") is None


@pytest.mark.parametrize("text", SAME)
def test_a_claim_is_kept_as_the_name_it_means(text: str) -> None:
    (claim,) = declarations("child", {"base_model": text})
    assert (claim.base, claim.source) == ("acme/a", "card")
    (tagged,) = declarations("child", {}, ("base_model:" + text, "base_model:finetune:" + text))
    assert (tagged.base, tagged.relation) == ("acme/a", "finetune")
    (origin,) = declarations("child", {}, (), {"_name_or_path": text})
    assert origin.base == "acme/a"


def test_a_claim_of_something_else_stays_as_it_is_written() -> None:
    (claim,) = declarations("child", {}, (), {"_name_or_path": "/data/checkpoints/run1"})
    assert claim.base == "/data/checkpoints/run1"


@pytest.mark.parametrize("page", ["tree/refs%2Fpr%2F1", "blob/refs/pr/1/config.json", "resolve/refs/pr/1"])
def test_an_address_of_a_pull_request_names_its_revision(page: str) -> None:
    assert repo_and_revision(f"https://huggingface.co/acme/a/{page}") == ("acme/a", "refs/pr/1")


@pytest.mark.parametrize(
    "text", ["git@github.com:acme/a.git", "ssh://git@example.org/acme/a", "https://huggingface.co:99/acme/a"]
)
def test_other_hosts_are_no_hub(text: str) -> None:
    assert repo_id_of(text) is None
