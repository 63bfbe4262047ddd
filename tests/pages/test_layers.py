"""The picture of layers: one row a layer, neighbours merged where there are too many, numbers of the detection behind it."""

from __future__ import annotations

import pytest
import torch

from lineage.detect.explain import pair_layers
from lineage.pages.layers import LayerRow, as_json, from_json, layer_picture, layers_of
from lineage.pages.render import render
from tests.builders import sketch_of, start, tune


def layer(place: int, **fields: object) -> LayerRow:
    values = {
        "change": place / 100,
        "retained": 0.5,
        "growth": 0.2,
        "growth_error": 0.1,
        "inherited": None,
        "inherited_error": None,
    }
    return LayerRow(f"layers.{place}.weight", 100, **{**values, **fields})  # type: ignore[arg-type]


def test_every_layer_has_a_row_and_the_largest_change_fills_its_panel() -> None:
    picture = layer_picture([layer(i) for i in range(11)])
    assert len(picture.rows) == 11 and len(picture.panels) == 3
    assert picture.rows[-1].change == max(row.change for row in picture.rows) == pytest.approx(190)


def test_deep_networks_are_merged_and_keep_their_means() -> None:
    picture = layer_picture([layer(i) for i in range(1000)], most=50)
    assert len(picture.rows) == 50 and picture.named is not None
    assert "layers.0.weight … layers.19.weight" in picture.rows[0].about


def test_inheritance_has_a_panel_where_there_is_a_grandparent() -> None:
    assert len(layer_picture([layer(1, inherited=1.1, inherited_error=0.05)]).panels) == 4


def test_equal_models_are_said_to_be_equal() -> None:
    assert layer_picture([layer(0, change=0.0, retained=1.0, growth=None)]).equal


def test_layers_travel_as_json() -> None:
    layers = [layer(1), layer(2, inherited=0.9, inherited_error=0.1)]
    assert list(from_json(as_json(layers))) == layers


def test_layers_of_real_weights_are_those_of_the_evidence() -> None:
    base = start(1)
    child = tune(base, 2)
    evidence = pair_layers(sketch_of(child), sketch_of(base), None, torch.device("cpu"))
    layers = layers_of(evidence)
    assert [one.name for one in layers] == [one.name for one in evidence]
    assert all(one.change > 0 for one in layers)
    text = render("layers.svg", picture=layer_picture(layers), style="")
    assert text.count("<circle") >= 1 and layers[0].name in text
