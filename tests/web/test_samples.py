"""Pictures of layers are worked out in another process from the samples, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage.detect.sketch_store import SketchStore
from lineage.pages.layers import LayerRow
from lineage.web.samples import Samples
from tests.builders import sketch_of, start, three_generations

pytestmark = pytest.mark.slow


def test_layers_come_from_the_samples_and_are_kept(tmp_path: Path) -> None:
    models, parents = three_generations()
    sketches = {name: sketch_of(weights, name) for name, weights in models.items()}
    store = SketchStore(tmp_path)
    for sketch in sketches.values():
        store.keep(sketch)
    child = next(name for name, parent in parents.items() if parent in parents)
    parent, grand = parents[child], parents[parents[child]]
    samples = Samples(tmp_path)
    found = samples.layers(sketches[child].digest, sketches[parent].digest, sketches[grand].digest)
    assert isinstance(found, tuple) and all(isinstance(layer, LayerRow) and layer.change > 0 for layer in found)
    assert any(layer.inherited is not None for layer in found)
    assert samples.layers(sketches[child].digest, sketches[parent].digest, sketches[grand].digest) is found


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    store = SketchStore(tmp_path)
    one, other = sketch_of(start(1)), sketch_of(start(2, {"stem.weight": (24, 20), "head.weight": (16, 24)}), "other")
    store.keep(one), store.keep(other)
    samples = Samples(tmp_path)
    assert "no layer can be compared" in str(samples.layers(one.digest, other.digest, None))
    assert "are missing" in str(samples.layers(one.digest, "0" * 64, None))
    assert "are missing" in str(samples.layers("../../etc/passwd", one.digest, None))
