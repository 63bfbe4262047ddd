"""The relations that people publish, by real libraries. One part a file; this is the entry.

python -m bench.relations adapters quantized     (needs: pip install -e '.[relations,quantized]')

Merges are made of families that are at hand, so bench/relations_merges.py is run by itself.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module

PARTS = ("adapters", "quantized")  # bench/relations_<part>.py, each with a function `run` that prints and gives numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all of them")
    for part in parser.parse_args().parts or PARTS:
        found = import_module(f"bench.relations_{part}").run()
        print(json.dumps({"bench": f"relations_{part}", **found}))


if __name__ == "__main__":
    main()
