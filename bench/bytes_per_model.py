"""What one 8B model costs on the wire, against the least it could: `python -m bench.bytes_per_model`.

Comes in: nothing. A header like Llama-3.1-8B's (32 layers, hidden 4096, 8 key-value heads, vocabulary 128256, bfloat16) is
written before a sparse file of 16 GB, once as one file and once as four shards with an index; the loopback Hub serves both
and the crawler reads them. Comes out: a table and one last line of JSON; exit code 1 beyond the bounds.

The floor counts, for each weight file, one request to resolve it, one for its header, one for each slice of the sketch, and
just the bytes of header and slices. Bounds: 1 MiB a model, and no request for a weight file beyond the floor.
"""

from __future__ import annotations

import json
import platform
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from lineage.crawler.crawl import crawl
from lineage.crawler.headers import TensorHeader
from lineage.crawler.hub import Hub
from lineage.crawler.progress import Progress
from lineage.crawler.walk import CrawlOptions
from lineage.detect.sketch_store import SketchStore
from lineage.graphdb.schema import Status
from lineage.reading import StoringReader
from tests.fake_hub import FakeHub, Request, StoredFile

LAYERS, HIDDEN, KEYS, WIDE, VOCABULARY = 32, 4096, 8 * 128, 14336, 128256
SHARDS = 4
BOUND_BYTES = 1 << 20
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "torch_dtype": "bfloat16",
}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What one model cost; `floor_*` is the least that reads the same header and the same slices.

    Attributes:
        weight_requests: to resolve and read weight files; other_requests: tree, index, configuration.
    """

    model: str
    files: int
    slices: int
    file_bytes: int
    floor_requests: int
    weight_requests: int
    other_requests: int
    floor_bytes: int
    weight_bytes: int
    other_bytes: int
    seconds: float

    @property
    def within_bounds(self) -> bool:
        return self.weight_requests <= self.floor_requests and self.weight_bytes + self.other_bytes <= BOUND_BYTES


def tensor_shapes() -> Iterator[tuple[str, Shape]]:
    """Names and shapes as Llama 3.1 8B has them: 291 tensors, 8,030,261,248 values."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        for name, shape in (
            ("input_layernorm", (HIDDEN,)),
            ("mlp.down_proj", (HIDDEN, WIDE)),
            ("mlp.gate_proj", (WIDE, HIDDEN)),
            ("mlp.up_proj", (WIDE, HIDDEN)),
            ("post_attention_layernorm", (HIDDEN,)),
            ("self_attn.k_proj", (KEYS, HIDDEN)),
            ("self_attn.o_proj", (HIDDEN, HIDDEN)),
            ("self_attn.q_proj", (HIDDEN, HIDDEN)),
            ("self_attn.v_proj", (KEYS, HIDDEN)),
        ):
            yield f"model.layers.{layer}.{name}.weight", shape
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def write_sparse(path: Path, tensors: list[tuple[str, Shape]]) -> list[TensorHeader]:
    """A safetensors file with a real header and holes for values; gives where each tensor lies."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors:
        size = 2 * values_of(shape)
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    starts = {name: 8 + len(text) + entries[name]["data_offsets"][0] for name, _ in tensors}  # type: ignore[index]
    return [
        TensorHeader(name, "BF16", shape, path.name, starts[name], starts[name] + 2 * values_of(shape))
        for name, shape in tensors
    ]


def values_of(shape: Shape) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def publish(hub: FakeHub, folder: Path, repo_id: str, shards: int) -> list[TensorHeader]:
    """Put the model on the Hub in so many files; gives its header."""
    folder.mkdir()
    tensors = list(tensor_shapes())
    per_file = -(-len(tensors) // shards)
    names = ["model.safetensors"]
    if shards > 1:
        names = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    header: list[TensorHeader] = []
    files: dict[str, bytes | Path | StoredFile] = {"config.json": json.dumps(CONFIG).encode(), "README.md": b""}
    for i, name in enumerate(names):
        header += write_sparse(folder / name, tensors[i * per_file : (i + 1) * per_file])
        files[name] = StoredFile(folder / name, sha256(f"{repo_id}/{name}".encode()).hexdigest())  # 16 GB of zeros
    if shards > 1:
        index = {"metadata": {"total_size": 0}, "weight_map": {t.name: t.file for t in header}}
        files["model.safetensors.index.json"] = json.dumps(index).encode()
    hub.add_repo(repo_id, files)
    return header


def measure(hub: FakeHub, repo_id: str, header: list[TensorHeader], work: Path) -> Cost:
    """Crawl one model into an empty sketch store and add up what the Hub saw after the listing."""
    work.mkdir()
    store = SketchStore(work / "sketches")
    slices = store.plan(header)
    files = {t.file for t in header}
    sizes = {t.name: (t.stop - t.start) // values_of(t.shape) for t in header}
    header_bytes = sum(min(t.start for t in header if t.file == file) for file in files)
    hub.reset_counts()
    began = time.perf_counter()
    options = CrawlOptions(author=repo_id.split("/")[0], workers=1)
    with Progress(work / "progress.sqlite") as progress:
        for batch in crawl(options, StoringReader(store), progress, Hub(hub.url)):
            statuses = [model.status for model in batch.models]
            if statuses != [Status.SKETCHED]:
                raise RuntimeError(f"{repo_id} was not read: {batch.failures or statuses}")
            batch.acknowledge()
    seconds = time.perf_counter() - began
    after_listing = [r for r in hub.log() if r.kind != "list"]
    weights = [r for r in after_listing if is_of_weights(r)]
    others = [r for r in after_listing if not is_of_weights(r)]
    return Cost(
        model=repo_id,
        files=len(files),
        slices=len(slices),
        file_bytes=sum(t.stop - t.start for t in header) + header_bytes,
        floor_requests=2 * len(files) + len(slices),
        weight_requests=len(weights),
        other_requests=len(others),
        floor_bytes=header_bytes + sum((s.stop - s.start) * sizes[s.tensor] for s in slices),
        weight_bytes=sum(r.bytes for r in weights),
        other_bytes=sum(r.bytes for r in others),
        seconds=round(seconds, 3),
    )


def is_of_weights(request: Request) -> bool:
    """Whether a request resolves a weight file or reads from one."""
    return request.kind == "cdn" or (
        request.kind == "resolve" and request.target.split("?")[0].endswith(".safetensors")
    )


def table(costs: list[Cost]) -> str:
    """For people."""
    lines = [
        f"{'model':<22}{'files':>6}{'slices':>8}{'GB':>7}{'requests':>10}{'floor':>7}{'others':>8}"
        f"{'KiB':>9}{'floor':>9}{'others':>8}{'s':>7}"
    ]
    lines += [
        f"{c.model:<22}{c.files:>6}{c.slices:>8}{c.file_bytes / 1e9:>7.1f}{c.weight_requests:>10}{c.floor_requests:>7}"
        f"{c.other_requests:>8}{c.weight_bytes / 1024:>9.1f}{c.floor_bytes / 1024:>9.1f}{c.other_bytes / 1024:>8.1f}"
        f"{c.seconds:>7.2f}"
        for c in costs
    ]
    return "\n".join(lines)


def main() -> int:
    costs = []
    with tempfile.TemporaryDirectory() as temporary, FakeHub() as hub:
        folder = Path(temporary)
        for repo_id, shards in (("single/llama-like-8b", 1), ("sharded/llama-like-8b", SHARDS)):
            header = publish(hub, folder / repo_id.split("/")[0], repo_id, shards)
            costs.append(measure(hub, repo_id, header, folder / f"work-{shards}"))
    print(
        f"{platform.machine()}, Python {platform.python_version()}, loopback; listing not counted. `floor` is the least"
    )
    print("that reads the same header and slices; `others` are tree, index and configuration.\n")
    print(table(costs))
    ok = all(cost.within_bounds for cost in costs)
    print(f"\nbound: {BOUND_BYTES} bytes a model, no request for weights above the floor: {'kept' if ok else 'BROKEN'}")
    requests = Counter({cost.model: cost.weight_requests + cost.other_requests for cost in costs})
    print(
        json.dumps({"bench": "bytes_per_model", "ok": ok, "requests": requests, "models": [asdict(c) for c in costs]})
    )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
