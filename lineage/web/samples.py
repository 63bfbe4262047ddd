"""The layer-by-layer picture of two models, worked out in a process of its own, so that the server never loads torch.

    python -m lineage.web.samples SKETCHES CHILD PARENT [SINCE]     digests of weights -> JSON on stdout

One such process runs at a time, for a limited time; results are kept by their digests.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from lineage.graphdb.schema import Failure, share_key
from lineage.pages.layers import LayerRow, as_json, from_json, layers_of

DIGEST = re.compile(r"[0-9a-f]{64}")
KEPT = 256
SECONDS = 60.0
WAITING_SECONDS = 30.0


class Samples:
    """Pictures from the samples of weights in a folder or at an address."""

    def __init__(self, sketches: Path | str):
        self._sketches = str(sketches)
        self._one = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], tuple[LayerRow, ...] | str] = OrderedDict()

    def layers(self, child: str, parent: str, since: str | None) -> tuple[LayerRow, ...] | str:
        """The layers of a pair of digests, or a sentence that says why there are none."""
        key = (child, parent, *([since] if since else []))
        if not all(DIGEST.fullmatch(digest) for digest in key):
            return "The samples of the two models are missing."
        if (found := self._known.get(key)) is not None:
            return found
        if not self._one.acquire(timeout=WAITING_SECONDS):
            return "Other pictures are being worked out; try again in a minute."
        try:
            found = self._known.get(key)
            if found is None:
                found = self._work(key)
                self._known[key] = found
                while len(self._known) > KEPT:
                    self._known.popitem(last=False)
            return found
        finally:
            self._one.release()

    def _work(self, key: Sequence[str]) -> tuple[LayerRow, ...] | str:
        command = [sys.executable, "-m", "lineage.web.samples", self._sketches, *key]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return "Working out this picture took too long."
        if done.returncode:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "The samples cannot be read."
        return from_json(json.loads(done.stdout))


def main(arguments: Sequence[str]) -> int:
    """What the process does; gives its exit code."""
    from lineage.detect.explain import pair_layers
    from lineage.detect.sketch_store import SketchStore

    address, child, parent, *since = arguments
    try:
        store = SketchStore(Path(address) if "://" not in address else address)
        found = {sketch.digest: sketch for sketch in store.many([child, parent, *since])}
        if child not in found or parent not in found:
            raise Failure("The samples of the two models are missing.")
        before = found.get(since[0]) if since else None
        if before is not None and not share_key(before.signature, found[parent].signature):
            before = None
        if not share_key(found[child].signature, found[parent].signature):
            raise Failure("The two are without a backbone in common: no layer can be compared.")
        layers = layers_of(pair_layers(found[child], found[parent], before))
    except Failure as failure:
        print(failure.message, file=sys.stderr)
        return 1
    json.dump(as_json(layers), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
