"""Mutated file headers against our parsers: `python -m bench.mutate_headers --count 100000`.

Comes in: nothing. Sound safetensors and GGUF files are bent at random (bytes set, cut, inserted, doubled; numbers replaced by
extreme ones; pieces swapped), then read. What we accept must be what the format's own library reads; everything else must be a
BadHeader. Goes out: a table and one last line of JSON; exit code 1 for a wrong answer, another exception, more than 50 ms, or
more memory than twice the file (beyond 64 KiB): what was read, and the piece that is put behind it. Memory is the peak of all
allocations of one parse, measured for every 50th mutant.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from lineage.crawler.formats.gguf_header import read_gguf_header
from lineage.crawler.headers import BadHeader, parse_header
from tests.crawler.ggufs import llama, write

LIMIT_SECONDS = 0.05
TRACED_EVERY = 50
ALLOWANCE_BYTES = 64 * 1024  # for messages and the parser itself, which weigh more than a file that was cut to nothing
EXTREMES = (b"18446744073709551615", b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'""', b"9" * 400, b"\\ud800")


@dataclass
class Count:
    """What came of the mutants of one format."""

    accepted: int = 0
    refused: int = 0
    wrong: int = 0
    slow: int = 0
    crashed: dict[str, int] = field(default_factory=dict)
    longest_seconds: float = 0.0
    memory_over_file: float = 0.0


def mutate(raw: bytes, header_bytes: int, chance: random.Random) -> bytes:
    """A few changes, mostly in the header."""
    found = bytearray(raw)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(min(header_bytes, len(found)) or 1)
        how = chance.randrange(8)
        if how == 0:
            found[at : at + 1] = bytes([chance.randrange(256)])
        elif how == 1:
            found[at : at + chance.randint(1, 40)] = b""
        elif how == 2:
            found[at:at] = chance.randbytes(chance.randint(1, 12))
        elif how == 3:
            found[at:at] = found[at : at + chance.randint(1, 200)]
        elif how == 4:
            found[at : at + chance.randint(0, 8)] = chance.choice(EXTREMES)
        elif how == 5:
            found[at : at + 8] = chance.choice((0, 1, 255, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)).to_bytes(
                8, "little"
            )
        elif how == 6 and chance.random() < 0.3:
            del found[at:]
        else:
            other = chance.randrange(min(header_bytes, len(found)) or 1)
            found[at : at + 8], found[other : other + 8] = found[other : other + 8], found[at : at + 8]
    return bytes(found)


def parse_safetensors(raw: bytes) -> bool:
    """Whether the format's own library agrees with what we accept; it may know fewer dtypes."""
    found = parse_header(raw, "f", len(raw))
    if any(not tensor.known for tensor in found):
        return True
    try:
        reference = dict(deserialize(raw))
    except SafetensorError:
        return False
    return {t.name: (list(t.shape), t.stop - t.start) for t in found} == {
        name: (list(spec["shape"]), len(spec["data"])) for name, spec in reference.items()
    }


def parse_gguf(raw: bytes) -> bool:
    """Whether what we accept lies inside the file, without overlap, each tensor with the bytes that its type needs."""
    header = read_gguf_header(lambda start, stop: raw[start:stop], "f", len(raw))
    end = 0
    for tensor in header.tensors:
        if not end <= tensor.start <= tensor.stop <= len(raw):
            return False
        end = tensor.stop
    return True


def run(raw: bytes, header_bytes: int, count: int, parse: Callable[[bytes], bool], seed: int) -> Count:
    result, chance = Count(), random.Random(seed)
    for number in range(count):
        mutant = mutate(raw, header_bytes, chance)
        traced = number % TRACED_EVERY == 0
        if traced:
            tracemalloc.start(1)
        began = time.process_time()
        try:
            right = parse(mutant)
            result.accepted += right
            result.wrong += not right
        except BadHeader:
            result.refused += 1
        except Exception as error:  # what we look for
            name = type(error).__name__
            result.crashed[name] = result.crashed.get(name, 0) + 1
        seconds = time.process_time() - began
        if traced:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            beyond = max(0, peak - ALLOWANCE_BYTES) / max(1, len(mutant))
            result.memory_over_file = max(result.memory_over_file, beyond)
        else:
            result.longest_seconds = max(result.longest_seconds, seconds)
            result.slow += seconds > LIMIT_SECONDS
    return result


def samples() -> dict[str, tuple[bytes, int, Callable[[bytes], bool]]]:
    """Name -> sound file, how much of it is header, parser."""
    tensors = {f"model.layers.{i}.mlp.weight": np.ones((64, 64), np.float16) for i in range(30)}
    safetensors = save(tensors, {"format": "pt"})
    with tempfile.TemporaryDirectory() as folder:
        ggufs = write(Path(folder) / "m.gguf", llama())
    return {
        "safetensors": (safetensors, 8 + int.from_bytes(safetensors[:8], "little"), parse_safetensors),
        "GGUF": (ggufs, ggufs.index(b"rope_freqs.weight") + 40, parse_gguf),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    formats = samples()
    counts = {
        name: run(*formats[name][:2], given.count // len(formats), formats[name][2], given.seed) for name in formats
    }
    print(
        f"{'format':<14}{'accepted':>10}{'refused':>10}{'wrong':>7}{'crashed':>9}{'slow':>6}{'longest ms':>12}{'peak/file':>11}"
    )
    for name, c in counts.items():
        print(
            f"{name:<14}{c.accepted:>10}{c.refused:>10}{c.wrong:>7}{sum(c.crashed.values()):>9}{c.slow:>6}"
            f"{1000 * c.longest_seconds:>12.2f}{c.memory_over_file:>11.2f}"
        )
    ok = not any(c.wrong or c.crashed or c.slow or c.memory_over_file > 2 for c in counts.values())
    print(json.dumps({"bench": "mutate_headers", "ok": ok, "formats": {name: vars(c) for name, c in counts.items()}}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
