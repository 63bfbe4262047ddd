"""The relations that people publish, by real libraries: adapters, quantized copies, merges. One part a file; this is the entry.

python -m bench.relations                     (needs: pip install -e '.[relations]')
python -m bench.relations adapters
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from importlib.util import find_spec

PARTS = (
    "adapters",
    "quantized",
    "merges",
)  # bench/relations_<part>.py, each with a function `run` that prints and gives numbers


def main() -> None:
    there = [part for part in PARTS if find_spec(f"bench.relations_{part}")]
    parser = argparse.ArgumentParser(description="Adapters, quantized copies, merges")
    parser.add_argument("parts", nargs="*", choices=[*there, []], help="default: all of them")
    for part in parser.parse_args().parts or there:
        found = import_module(f"bench.relations_{part}").run()
        print(json.dumps({"bench": f"relations_{part}", **found}))


if __name__ == "__main__":
    main()
