"""Where a sample is taken: the same places in every model of one backbone."""

from __future__ import annotations

from bench.architectures import Spec
from lineage.detect.sketch import SKETCH_VERSION, plan

GOLDEN_PLACES = [("attn.q.weight", (258048, 262144)), ("attn_norm.weight", (0, 512)), ("mlp.up.weight", (0, 4096))]


def test_positions_of_a_tensor_depend_on_its_place_in_the_block_and_move_only_with_a_new_version() -> None:
    """Golden positions: whoever moves them must count SKETCH_VERSION up, or old and new sketches are compared at other places."""
    wide = 512

    def header(depth: int, prefix: str = "model.", vocabulary: int = 9000) -> list[Spec]:
        found = [
            Spec(f"{prefix}embed_tokens.weight", "BF16", (vocabulary, wide)),
            Spec("lm_head.weight", "BF16", (7, wide)),
        ]
        for i in range(depth):
            at = f"{prefix}layers.{i}."
            found += [Spec(f"{at}{n}.weight", "BF16", (wide, wide)) for n in ("attn.k", "attn.q", "mlp.up")]
            found += [Spec(f"{at}{n}.weight", "BF16", (wide,)) for n in ("attn_norm", "mlp_norm")]
        return found

    def places(header: list[Spec], block: int, prefix: str = "model.layers.") -> dict[str, tuple[int, int]]:
        at = f"{prefix}{block}."
        return {b.tensor.removeprefix(at): (b.start, b.stop) for b in plan(header) if b.tensor.startswith(at)}

    assert SKETCH_VERSION == 2
    deep, shallow = places(header(12), 3), places(header(6), 5)
    shared = [name for name in deep.keys() & shallow.keys() if name.startswith(("attn.", "mlp."))]
    assert shared and all(max(deep[n][0], shallow[n][0]) < min(deep[n][1], shallow[n][1]) for n in shared)
    assert places(header(12, "0.auto_model.", 9001), 3, "0.auto_model.layers.") == deep
    assert {name for name in deep if "norm" in name}, "norms are in the sample"
    assert any(b.tensor == "model.embed_tokens.weight" and b.start == 256 * wide for b in plan(header(12)))
    assert sorted(deep.items()) == GOLDEN_PLACES
