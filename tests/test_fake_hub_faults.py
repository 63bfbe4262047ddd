"""Each fault of the loopback Hub does what it says, as often as it says, to the requests it is meant for."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.fake_hub import FakeHub

DATA = bytes(range(256)) * 64


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        for n in range(6):
            hub.add_repo(f"acme/m{n}", {"model.safetensors": DATA})
        yield hub


def address(hub: FakeHub) -> str:
    return httpx2.head(f"{hub.url}/acme/m0/resolve/main/model.safetensors").headers["location"]


def read(hub: FakeHub, start: int = 16, stop: int = 32) -> httpx2.Response:
    return httpx2.get(address(hub), headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"})


def test_faults_end_after_their_number_of_times_or_when_cleared(hub: FakeHub) -> None:
    hub.faults.status(503, kind="list", times=2)
    assert [httpx2.get(f"{hub.url}/api/models").status_code for _ in range(3)] == [503, 503, 200]
    with hub.faults.status(500, kind="info") as fault:
        assert httpx2.get(f"{hub.url}/api/models/acme/m0").status_code == 500
        assert httpx2.get(f"{hub.url}/api/models").status_code == 200
    assert fault.struck == 1 and httpx2.get(f"{hub.url}/api/models/acme/m0").status_code == 200
    hub.faults.status(500)
    hub.faults.clear()
    assert httpx2.get(f"{hub.url}/api/models").status_code == 200


def test_faults_choose_requests_by_text_and_skip_the_first(hub: FakeHub) -> None:
    hub.faults.status(404, kind="info", match="m3", skip=1)
    wanted = ["m1", "m3", "m3", "m2"]
    assert [httpx2.get(f"{hub.url}/api/models/acme/{n}").status_code for n in wanted] == [200, 200, 404, 200]


def test_status_of_an_edge_comes_without_the_headers_of_the_hub(hub: FakeHub) -> None:
    hub.faults.status(429, kind="list", headers={"Retry-After": "7"})
    answer = httpx2.get(f"{hub.url}/api/models")
    assert answer.status_code == 429 and answer.headers["retry-after"] == "7" and "ratelimit" not in answer.headers


def test_ignored_range_gives_the_whole_file(hub: FakeHub) -> None:
    hub.faults.ignore_range(times=1)
    answer = read(hub)
    assert answer.status_code == 200 and answer.content == DATA
    assert read(hub).status_code == 206


def test_cut_body_ends_early(hub: FakeHub) -> None:
    hub.faults.cut_after_bytes(5)
    with pytest.raises(httpx2.RemoteProtocolError, match="5 bytes"):
        read(hub)
    assert hub.counts()["cdn"].bytes == 5


def test_wrong_content_range_names_other_bytes_than_it_carries(hub: FakeHub) -> None:
    hub.faults.wrong_content_range(3)
    answer = read(hub)
    assert answer.headers["content-range"] == f"bytes 19-34/{len(DATA)}" and answer.content == DATA[16:32]


def test_short_body_and_other_bytes_look_sound(hub: FakeHub) -> None:
    hub.faults.short_body(4, times=1)
    answer = read(hub)
    assert answer.status_code == 206 and answer.content == DATA[16:28]
    hub.faults.other_bytes(times=1)
    assert read(hub).content == bytes(255 - b for b in DATA[16:32])


def test_body_is_compressed_against_the_client_s_will(hub: FakeHub) -> None:
    hub.faults.gzip_body()
    answer = read(hub)
    assert answer.headers["content-encoding"] == "gzip" and answer.content == DATA[16:32]


def test_endless_body_goes_on_beyond_what_was_asked(hub: FakeHub) -> None:
    hub.faults.endless_body()
    seen = 0
    with httpx2.stream("GET", address(hub), headers={"Range": "bytes=0-7"}) as answer:
        for block in answer.iter_raw():
            seen += len(block)
            if seen > 5_000_000:
                break
    assert seen > 5_000_000


def test_dropped_connection_has_no_answer(hub: FakeHub) -> None:
    hub.faults.drop_connection(kind="list", times=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(f"{hub.url}/api/models")
    assert httpx2.get(f"{hub.url}/api/models").status_code == 200
    assert [r.status for r in hub.log()] == [0, 200]


def test_slow_answers_outlast_a_short_patience(hub: FakeHub) -> None:
    hub.faults.slow(30, kind="list")
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{hub.url}/api/models", timeout=0.2)
    hub.faults.trickle(100)
    with httpx2.stream("GET", address(hub)) as answer:
        assert len(next(answer.iter_raw())) < len(DATA) // 10  # the first piece comes long before the whole


def test_redirects_lead_anywhere(hub: FakeHub) -> None:
    hub.faults.redirect_to("http://169.254.169.254/latest", kind="resolve")
    answer = httpx2.get(f"{hub.url}/acme/m0/resolve/main/model.safetensors")
    assert (answer.status_code, answer.headers["location"]) == (302, "http://169.254.169.254/latest")


def test_cursor_runs_in_circles(hub: FakeHub) -> None:
    first = httpx2.get(f"{hub.url}/api/models?limit=2")
    second_address = first.links["next"]["url"]
    hub.faults.loop_cursor()
    second = httpx2.get(second_address)
    assert httpx2.get(second.links["next"]["url"]).json() == second.json() != first.json()


def test_page_repeats_the_one_before(hub: FakeHub) -> None:
    first = httpx2.get(f"{hub.url}/api/models?limit=2")
    hub.faults.repeat_page(times=1)
    second = httpx2.get(first.links["next"]["url"])
    assert second.json() == first.json() and second.links["next"]["url"] != first.links["next"]["url"]


def test_pages_hold_malformed_items_or_no_list_at_all(hub: FakeHub) -> None:
    hub.faults.malformed_item({"id": None, "safetensors": {}}, times=1)
    rows = httpx2.get(f"{hub.url}/api/models?limit=2").json()
    assert rows[0] == {"id": None, "safetensors": {}} and len(rows) == 3
    hub.faults.replace_json({"error": "no list"}, kind="list", times=1)
    assert httpx2.get(f"{hub.url}/api/models").json() == {"error": "no list"}
    hub.add_repo("acme/broken", {}, overrides={"safetensors": {"total": 3}, "tags": None})
    assert httpx2.get(f"{hub.url}/api/models/acme/broken").json()["safetensors"] == {"total": 3}
    assert "tags" not in httpx2.get(f"{hub.url}/api/models?search=broken").json()[0]
