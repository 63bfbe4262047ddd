"""Redirects may not lead into the network that we stand in."""

from __future__ import annotations

import pytest

from lineage.crawler.addresses import ForbiddenRedirect, check_redirect, nearness, origin

PUBLIC = "https://93.184.216.34"


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("93.184.216.34", 0),
        ("10.1.2.3", 1),
        ("192.168.0.1", 1),
        ("fd00::1", 1),
        ("100.64.0.1", 1),
        ("127.0.0.1", 2),
        ("127.9.9.9", 2),
        ("::1", 2),
        ("::ffff:127.0.0.1", 2),
        ("0.0.0.0", 2),
        ("169.254.169.254", 2),
        ("localhost", 2),
    ],
)
def test_hosts_are_told_apart_by_how_near_they_are(host: str, near: int) -> None:
    assert nearness(host) == near


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.1/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://localhost:8080/x",
        "http://93.184.216.35/x",
        "file:///etc/passwd",
        "ftp://93.184.216.34/x",
        "gopher://93.184.216.34/x",
        "https://user:secret@93.184.216.35/x",
        "https:///x",
    ],
)
def test_a_public_hub_cannot_send_us_there(target: str) -> None:
    with pytest.raises(ForbiddenRedirect) as failure:
        check_redirect(PUBLIC, f"{PUBLIC}/a", target)
    assert "secret" not in failure.value.message


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        (PUBLIC, "https://93.184.216.35/signed?x=1"),
        ("http://10.0.0.5", "http://10.0.0.6/x"),
        ("http://10.0.0.5", "https://93.184.216.34/x"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:9000/x"),
        ("http://127.0.0.1:8000", "http://10.0.0.1/x"),
    ],
)
def test_a_hub_may_send_us_no_nearer_than_it_stands_itself(endpoint: str, target: str) -> None:
    check_redirect(endpoint, f"{endpoint}/a", target)


def test_a_private_hub_cannot_send_us_to_our_own_machine() -> None:
    for target in ("http://127.0.0.1/x", "http://169.254.169.254/x"):
        with pytest.raises(ForbiddenRedirect, match="private network"):
            check_redirect("http://10.0.0.5", "http://10.0.0.5/a", target)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://A.example/x") == origin("https://a.example:443/y") != origin("http://a.example/x")
    assert origin("http://a.example:1/") != origin("http://a.example:2/")
