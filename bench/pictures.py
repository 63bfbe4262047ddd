"""The pictures of the README and of docs/, taken of `lineage web` and `lineage report` over the store that `make demo` left.

python -m bench.pictures [--store .demo/store]        needs Chromium and its driver; writes docs/pictures/*.png
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from lineage.web.addresses import query
from tests.web.browser import chromium, resize

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
LIAR, PARENT, TOP = "birch/mirrored-digits", "acme/digits-mlp-noisy", "acme/digits-mlp"


def main() -> int:
    """Takes the pictures; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description="Pictures of the pages.")
    parser.add_argument("--store", type=Path, default=Path(".demo/store"))
    store = parser.parse_args().store
    if not (store / "graph").exists():
        print(f"there is no store at {store}: run `make demo` first", file=sys.stderr)
        return 1
    PICTURES.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "lineage", "web", "--store", str(store), "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["url"].rstrip("/")
        pages = {
            "overview": (f"{address}/", 640),
            "model": (f"{address}/model/{LIAR}", 800),
            "family": (f"{address}/family/{TOP}", 700),
            "evidence": (address + "/edge" + query([("child", LIAR), ("parent", PARENT)]), 1350),
        }
        with chromium() as browser:
            for name, (page, height) in pages.items():
                resize(browser, 1200, height)
                browser.get(page)
                browser.execute_async_script(
                    "const done = arguments[arguments.length - 1]; const left = [...document.images].filter(i => !i.complete);"
                    "Promise.all(left.map(i => new Promise(r => { i.onload = i.onerror = r; }))).then(done);"
                )
                browser.save_screenshot(str(PICTURES / f"{name}.png"))
                print(PICTURES / f"{name}.png")
    finally:
        server.terminate()
        server.wait(timeout=60)
    return report(store)


def report(store: Path) -> int:
    """The picture of a report, opened from the disk."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        subprocess.run(
            [sys.executable, "-m", "lineage", "report", LIAR, "--store", str(store), "-o", str(file)], check=True
        )
        with chromium() as browser:
            resize(browser, 1200, 900)
            browser.get(file.as_uri())
            browser.save_screenshot(str(PICTURES / "report.png"))
            print(PICTURES / "report.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
