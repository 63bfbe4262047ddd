"""How much of their samples large models of the same values have in common under two namings, at the sizes of published models.

    python -m bench.common_rows [--results]

Headers only: transformers' names against the original files of a Llama (rotary halves of the query and key interleaved, so that these do
not meet), against fused projections, and a ViT's against timm's. A tensor counts from four sampled rows in a row that are the same ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from bench.architectures import Spec
from bench.convolution_shapes import Shapes, convolution_networks
from bench.results_section import put_section
from lineage.detect.row_match import SHORTEST_RUN
from lineage.detect.sketch import plan

HEADING = "## Rows in common under other names"
LLAMA = {  # width, blocks, feed-forward, vocabulary, heads, key-value heads
    "Llama 0.5B": (896, 24, 4864, 151_936, 14, 2),
    "Llama 1B": (2048, 16, 8192, 128_256, 32, 8),
    "Llama 7B": (4096, 32, 11_008, 32_000, 32, 32),
    "Llama 8B": (4096, 32, 14_336, 128_256, 32, 8),
    "Llama 70B": (8192, 80, 28_672, 128_256, 64, 8),
}
VIT = {"ViT-Ti": (192, 12), "ViT-S": (384, 12), "ViT-B": (768, 12), "ViT-L": (1024, 24)}


@dataclass(frozen=True, slots=True)
class OtherNames:
    """shapes, made_of: by the other name; the latter are the tensors whose rows follow on each other in it. heads: of interleaved ones."""

    shapes: Shapes
    made_of: Mapping[str, Sequence[str]]
    heads: Mapping[str, int]

    def origin(self, own: Shapes, name: str, row: int) -> tuple[str, int]:
        for source in self.made_of[name]:
            height = own[source][0]
            if row < height:
                if name not in self.heads:
                    return source, row
                half = height // self.heads[name] // 2
                head, place = divmod(row, 2 * half)
                return source, head * 2 * half + place % 2 * half + place // 2
            row -= height
        raise IndexError(name)


def renamed(
    own: Shapes, words: Sequence[tuple[str, str]], fused: Mapping[str, str], heads: Mapping[str, int]
) -> OtherNames:
    """
    Args:
        words: what in a name is replaced by what. fused: end of a replaced name -> that of the tensor it is a part of.
        heads: end of a replaced name -> its heads, whose halves are interleaved.
    """
    made_of: dict[str, list[str]] = {}
    for name in own:
        other = name
        for word, instead in words:
            other = other.replace(word, instead)
        for end, whole in fused.items():
            if f".{end}." in other:
                other = other.replace(f".{end}.", f".{whole}.")
                break
        made_of.setdefault(other, []).append(name)
    shapes = {other: (sum(own[n][0] for n in parts), *own[parts[0]][1:]) for other, parts in made_of.items()}
    found = {other: count for other in made_of for end, count in heads.items() if f".{end}." in other}
    return OtherNames(shapes, made_of, found)


def llama(width: int, blocks: int, between: int, vocabulary: int, heads: int, groups: int) -> Shapes:
    narrow = width // heads * groups
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, width)}
    for i in range(blocks):
        at = f"model.layers.{i}"
        for part, rows in (("q", width), ("k", narrow), ("v", narrow), ("o", width)):
            shapes[f"{at}.self_attn.{part}_proj.weight"] = (rows, width)
        shapes |= {f"{at}.mlp.{part}_proj.weight": (between, width) for part in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = (width, between)
        shapes |= {f"{at}.{norm}.weight": (width,) for norm in ("input_layernorm", "post_attention_layernorm")}
    return shapes | {"model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}


def vit(width: int, blocks: int) -> Shapes:
    shapes: Shapes = {"vit.embeddings.patch_embeddings.projection.weight": (width, 3, 16, 16)}
    for i in range(blocks):
        at = f"vit.encoder.layer.{i}"
        layers = {f"attention.attention.{part}": (width, width) for part in ("query", "key", "value")}
        layers |= {"attention.output.dense": (width, width), "intermediate.dense": (4 * width, width)}
        layers |= {"output.dense": (width, 4 * width), "layernorm_before": (width,), "layernorm_after": (width,)}
        for name, shape in layers.items():
            shapes |= {f"{at}.{name}.weight": shape, f"{at}.{name}.bias": shape[:1]}
    return shapes


def pairs() -> Iterator[tuple[str, Shapes, OtherNames]]:
    original = [
        *(("model.", ""), ("embed_tokens", "tok_embeddings"), ("lm_head", "output")),
        *((f"self_attn.{part}_proj", f"attention.w{part}") for part in "qkvo"),
        *(
            ("mlp.gate_proj", "feed_forward.w1"),
            ("mlp.up_proj", "feed_forward.w3"),
            ("mlp.down_proj", "feed_forward.w2"),
        ),
        *(("post_attention_layernorm", "ffn_norm"), ("input_layernorm", "attention_norm")),
    ]
    fused = [("model.layers", "transformer.h"), ("self_attn", "attn"), ("o_proj", "dense"), ("down_proj", "dense")]
    into = {"q_proj": "Wqkv", "k_proj": "Wqkv", "v_proj": "Wqkv", "gate_proj": "gate_up", "up_proj": "gate_up"}
    timm = [
        *(("vit.encoder.layer", "blocks"), ("vit.embeddings.patch_embeddings.projection", "patch_embed.proj")),
        *(
            ("attention.attention.", "attn."),
            ("attention.output.dense", "attn.proj"),
            ("intermediate.dense", "mlp.fc1"),
        ),
        *(("output.dense", "mlp.fc2"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2")),
    ]
    for name, sizes in LLAMA.items():
        own = llama(*sizes)
        yield f"{name}, original files", own, renamed(own, original, {}, {"wq": sizes[4], "wk": sizes[5]})
        yield f"{name}, fused", own, renamed(own, fused, into, {})
    for name, (width, blocks) in VIT.items():
        own = vit(width, blocks)
        yield f"{name}, timm", own, renamed(own, timm, dict.fromkeys(("query", "key", "value"), "qkv"), {})


def convolution_pairs() -> Iterator[tuple[str, Shapes, OtherNames]]:
    for name, own, words in convolution_networks():
        yield f"{name}, transformers", own, renamed(own, words, {}, {})


def sampled_rows(shapes: Shapes) -> dict[str, range]:
    """Of matrices the rows in the sample."""
    blocks = plan([Spec(name, "BF16", shape) for name, shape in shapes.items()])
    wide = {b.tensor: prod(shapes[b.tensor][1:]) for b in blocks if len(shapes[b.tensor]) > 1}
    return {b.tensor: range(b.start // wide[b.tensor], b.stop // wide[b.tensor]) for b in blocks if b.tensor in wide}


def common(own: Shapes, other: OtherNames) -> tuple[int, int, int]:
    """(tensors with rows in common, values of these rows, values of the sampled rows of the first)."""
    first = sampled_rows(own)
    there: dict[str, set[int]] = {}
    for name, rows in sampled_rows(other.shapes).items():
        for row in rows:
            source, place = other.origin(own, name, row)
            there.setdefault(source, set()).add(place)
    tensors = values = 0
    for name, rows in first.items():
        longest = _longest_run(sorted(there.get(name, set()).intersection(rows)))
        if longest >= SHORTEST_RUN:
            tensors += 1
            values += longest * prod(own[name][1:])
    return tensors, values, sum(len(rows) * prod(own[name][1:]) for name, rows in first.items())


def _longest_run(rows: Sequence[int]) -> int:
    longest = run = min(1, len(rows))
    for one, following in pairwise(rows):
        run = run + 1 if following == one + 1 else 1
        longest = max(longest, run)
    return longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", action="store_true", help="write the table into RESULTS.md")
    given = parser.parse_args()
    table = [
        "| model, other names | tensors in common | values in common | of the sample |",
        "| --- | ---: | ---: | ---: |",
    ]
    for called, own, other in (*pairs(), *convolution_pairs()):
        tensors, values, everything = common(own, other)
        table.append(f"| {called} | {tensors} | {values:,} | {values / everything:.2f} |")
    print("\n".join(table))
    if given.results:
        put_section(HEADING, _ABOUT, table)


_ABOUT = """`python -m bench.common_rows --results`: headers at the sizes of published models. Three tensors of four rows each are the
least from which two models of other names are found to be relatives. With samples of version 2 the shares were 0.33 (original files;
0.23 for 0.5B), 0.08 to 0.17 (fused) and 0.15, 0.15, 0.09, 0.00 (ViT); of fused ones a single tensor was in common."""


if __name__ == "__main__":
    main()
