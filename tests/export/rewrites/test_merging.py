"""Fewer nodes for the same numbers."""

from __future__ import annotations

import tf_keras as keras

from tests.export.rewrites.rewritten import rewritten
from tests.networks import network


def test_projections_become_one():
    model = network("conformer")
    result = rewritten(model, "fuse")
    shapes = {layer.name: layer.get_weights()[0].shape for layer in result.layers if layer.name.endswith("_projections")}
    assert shapes == {"block_0_attention_projections": (8, 24)}
    assert "block_0_attention_query" not in {layer.name for layer in result.layers}


def test_the_image_is_not_copied_to_be_flattened():
    result = rewritten(network("conformer"), "flatten")
    stem = result.get_layer("stem_out")
    assert isinstance(stem, keras.layers.Conv2D) and stem.kernel_size == (1, 4) and stem.output_shape[2] == 1
