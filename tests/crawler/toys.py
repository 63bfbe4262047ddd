"""Small things that the crawler's tests crawl."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save

from lineage.crawler.hub import Hub
from lineage.crawler.pacing import Pacer
from tests.fake_hub import FakeHub

CARD = b"---\nbase_model: acme/base\nlicense: mit\n---\n# A model\n"


def weights(seed: int, tensors: int = 6, width: int = 64) -> dict[str, np.ndarray]:
    """Tensors of one small architecture, other values for another seed."""
    random = np.random.default_rng(seed)
    return {f"layers.{i}.weight": random.standard_normal((width, width)).astype(np.float32) for i in range(tensors)}


def model_file(seed: int, tensors: int = 6, width: int = 64) -> bytes:
    return save(weights(seed, tensors, width))


def repository(seed: int, **more: bytes) -> dict[str, bytes]:
    """Files of a usual repository."""
    return {"README.md": CARD, "config.json": b'{"model_type": "toy"}', "model.safetensors": model_file(seed), **more}


def raw_header(content: object, data_bytes: int = 0, padding: int = 0) -> bytes:
    """A safetensors file with this header, as JSON or as bytes."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    text += b" " * padding
    return len(text).to_bytes(8, "little") + text + bytes(data_bytes)


class Sleeps(list[float]):
    """Takes the place of time.sleep and of the clock: nothing waits, everything is written down, and time has passed."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)

    def clock(self) -> float:
        return 1000.0 + sum(self)


def hub_at(
    fake: FakeHub, token: str | bool = False, sleeps: Sleeps | None = None, max_wait_seconds: float = 3600
) -> Hub:
    """A crawler's hub at a loopback Hub, that never really sleeps."""
    sleeps = sleeps if sleeps is not None else Sleeps()
    return Hub(fake.url, token, Pacer(max_wait_seconds, sleeps.clock, sleeps))
