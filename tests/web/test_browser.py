"""The pages in a real browser: search, open, expand, follow an edge to its evidence, back; keyboard, narrow windows, no script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from lineage.graphdb.store import open_store
from tests.graphs import a_model, an_edge
from tests.pages.families import tell
from tests.web.browser import binaries, chromium, complaints, overflows, requested, resize, violations

pytestmark = pytest.mark.slow
CHILDREN = 150
PAGES = [
    "/",
    "/model/org/b",
    "/family/org/a",
    "/edge?child=org/b&parent=org/a",
    "/declared",
    "/licences",
    "/blast/org/a",
    "/runs",
]
PAGES += ["/changes", "/search?q=org/", "/compare?a=org/f&b=org/q", "/model/nobody/here"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of `lineage web` over the family of the tests and a star with many children, in a process of its own."""
    binaries()
    folder = tmp_path_factory.mktemp("browser") / "store"
    with open_store(str(folder)) as store:
        tell(store)
        models = [a_model(f"star-{i}", signature="other") for i in range(CHILDREN + 2)]
        store.upsert_models(models)
        edges = [an_edge(f"star-{i}", "star-0") for i in range(1, CHILDREN + 1)]
        edges.append(an_edge(f"star-{CHILDREN + 1}", "star-7"))
        store.replace_edges([model.hub_id for model in models], edges, [], "run-3")
    command = [sys.executable, "-m", "lineage", "web", "--store", str(folder), "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"].rstrip("/")
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def shared() -> Iterator[webdriver.Chrome]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def browser(shared: webdriver.Chrome, address: str) -> Iterator[webdriver.Chrome]:
    """One browser for all tests; after each: nothing in the console, no request to another host, no dialog."""
    resize(shared, 1280)
    shared.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    complaints(shared), requested(shared)
    yield shared
    assert [line for line in complaints(shared) if "404 (Not Found)" not in line] == []
    assert [url for url in requested(shared) if not url.startswith((address, "data:", "file:///tmp", "about:"))] == []
    with pytest.raises(NoAlertPresentException):
        shared.switch_to.alert  # noqa: B018


def boxes(browser: webdriver.Chrome) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, "svg.tree a.n"))


def heading(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "h1").text


def test_from_the_search_field_to_the_evidence_of_an_edge_and_back(browser: webdriver.Chrome, address: str) -> None:
    wait = WebDriverWait(browser, 20)
    browser.get(address + "/")
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    field = browser.switch_to.active_element
    assert field.get_attribute("name") == "q"
    field.send_keys("star-0")
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".options li"))
    field.send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    wait.until(lambda b: b.current_url == address + "/model/org/star-0")
    assert heading(browser) == "org/star-0"
    browser.find_element(By.LINK_TEXT, "Whole family").click()
    wait.until(lambda b: "/family/" in b.current_url)
    before = boxes(browser)
    browser.execute_script("window.sameDocument = true")
    browser.find_element(By.CSS_SELECTOR, "a[data-unfold]").click()
    wait.until(lambda b: boxes(b) > before)
    assert browser.execute_script("return window.sameDocument") is True and "more=" in browser.current_url
    browser.back()
    wait.until(lambda b: boxes(b) == before)
    browser.execute_script(
        "document.querySelector('svg.tree a[data-edge] .hit').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    wait.until(lambda b: heading(b) == "Evidence")
    assert "was fine-tuned from" in browser.find_element(By.CSS_SELECTOR, ".pair").text
    browser.back()
    wait.until(lambda b: "Family of" in heading(b))


def test_every_page_names_its_parts_for_a_screen_reader(browser: webdriver.Chrome, address: str) -> None:
    for page in PAGES:
        browser.get(address + page)
        assert violations(browser) == [], page


def test_dark_colours_can_be_read(browser: webdriver.Chrome, address: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    for page in PAGES[:5]:
        browser.get(address + page)
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert colour == "rgb(20, 23, 27)"
        assert violations(browser) == [], page


@pytest.mark.parametrize("width", [400, 1600])
def test_no_page_is_wider_than_its_window(browser: webdriver.Chrome, address: str, width: int) -> None:
    """400 pixels wide, and 80 % zoom on a screen of 1280."""
    resize(browser, width)
    for page in (*PAGES, "/model/id-hostile-3", "/family/id-hostile-3"):
        browser.get(address + page)
        assert overflows(browser) <= 0, page


def test_arrow_keys_go_through_the_tree_and_zoom_it(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address + "/family/org/a")
    view = browser.find_element(By.CSS_SELECTOR, "[data-stage] .scroll")
    browser.execute_script("arguments[0].focus()", view)
    view.send_keys(Keys.ARROW_RIGHT)
    first = browser.switch_to.active_element
    assert "marked" in (first.get_attribute("class") or "") and "org/a" in (first.get_attribute("aria-label") or "")
    first.send_keys(Keys.ARROW_RIGHT)
    second = browser.switch_to.active_element
    assert second.get_attribute("aria-label") != first.get_attribute("aria-label")
    width = float(browser.find_element(By.CSS_SELECTOR, ".scroll svg.tree").get_attribute("width") or 0)
    second.send_keys("+")
    assert float(browser.find_element(By.CSS_SELECTOR, ".scroll svg.tree").get_attribute("width") or 0) > width
    second.send_keys(Keys.ENTER)
    WebDriverWait(browser, 20).until(lambda b: "/model/" in b.current_url)


def test_hostile_names_run_nothing(browser: webdriver.Chrome, address: str) -> None:
    for page in (
        "/family/org/a",
        "/search?q=%3Cscript",
        "/declared",
        "/model/id-hostile-0",
        "/compare?a=id-hostile-1&b=id-hostile-6",
    ):
        browser.get(address + page)
        assert browser.find_elements(By.CSS_SELECTOR, "main script, main img:not(.layers), [onload], [onerror]") == []


def test_the_slider_shows_an_earlier_day(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address + "/family/org/d")
    slider = browser.find_element(By.CSS_SELECTOR, "input[type=range]")
    assert slider.is_displayed()
    script = "const s = arguments[0]; s.value = s.max; s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change'));"
    browser.execute_script(script, slider)
    WebDriverWait(browser, 20).until(lambda b: "at=" in b.current_url)
    assert "as it was in the graph" in browser.find_element(By.CSS_SELECTOR, ".notice").text


def test_without_script_a_click_unfolds_as_well(address: str) -> None:
    with chromium(script=False) as plain:
        plain.get(address + "/family/org/star-0")
        assert not plain.find_element(By.CSS_SELECTOR, "[data-tools]").is_displayed()
        before = boxes(plain)
        where = plain.find_element(By.CSS_SELECTOR, "a[data-unfold]").get_dom_attribute("href")
        plain.get(f"{address}{where}")
        assert boxes(plain) > before
        plain.find_element(By.CSS_SELECTOR, "#q").send_keys("org/lie", Keys.ENTER)
        WebDriverWait(plain, 20).until(lambda b: "/search?q=" in b.current_url)
        assert "org/lie" in plain.find_element(By.TAG_NAME, "table").text


def test_a_report_opens_from_the_disk(browser: webdriver.Chrome, told_report: Path) -> None:
    browser.get(told_report.as_uri())
    assert violations(browser) == []
    assert browser.find_elements(By.TAG_NAME, "script") == []
    for width in (400, 1280):
        resize(browser, width)
        assert overflows(browser) <= 0


@pytest.fixture
def told_report(tmp_path: Path) -> Iterator[Path]:
    """A report of several models of the family, hostile ones among them."""
    folder = tmp_path / "store"
    with open_store(str(folder)) as store:
        tell(store)
    file = tmp_path / "report.html"
    models = ["org/b", "org/e", "org/u", "id-hostile-0", "id-hostile-4"]
    command = [sys.executable, "-m", "lineage", "report", *models, "--store", str(folder), "-o", str(file)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    yield file
