"""A real browser for tests, without a window: Chromium and its driver as Debian packages them, driven by Selenium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1280, 900)


def binaries() -> tuple[str, str]:
    """(browser, driver); skips the test where one of them is not installed."""
    browser = next((path for name in NAMES if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium with its driver: apt-get install chromium chromium-driver")
    return browser, driver


@contextmanager
def chromium(*, script: bool = True, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser.

    Args:
        script: whether pages may run scripts. dark: whether pages are told that dark colours are liked.
    """
    browser, driver = binaries()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--window-size={SIZE[0]},{SIZE[1]}",
    ):
        options.add_argument(argument)
    if not script:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        opened.set_page_load_timeout(60)
        if dark:
            features = [{"name": "prefers-color-scheme", "value": "dark"}]
            opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        yield opened
    finally:
        opened.quit()


def requested(browser: webdriver.Chrome) -> list[str]:
    """Addresses that were requested since the last call."""
    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return found


def complaints(browser: webdriver.Chrome) -> list[str]:
    """What the console printed since the last call, beyond hints."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def violations(browser: webdriver.Chrome) -> list[str]:
    """Rules of axe (WCAG 2.1 A and AA, good practice) that the page breaks, each with the first element that does."""
    source = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    browser.execute_script(source)
    found: dict[str, Any] = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}).then(done);"
    )
    return [
        f"{rule['id']}: {rule['nodes'][0]['html'][:160]} {rule['nodes'][0]['failureSummary'][:200]}"
        for rule in found["violations"]
    ]


def resize(browser: webdriver.Chrome, width: int, height: int = 900) -> None:
    """The size of the page as the page sees it."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def overflows(browser: webdriver.Chrome) -> int:
    """Pixels by which the page is wider than its window."""
    return int(
        browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )
