"""LayerNorms become RMS norms where that is exact."""

from __future__ import annotations

import pytest

from kser.export.rewrites import DEPLOY_PASSES
from kser.models.layers import AddPositions
from kser.models.norms import LayerNorm
from tests.export.rewrites.rewritten import kinds, rewritten
from tests.networks import network


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("backbone", ["conformer", "convtransformer"])
def test_centring_leaves_no_layer_norm(backbone, pooling):
    model = rewritten(network(backbone, norm="layer", pooling=pooling), *DEPLOY_PASSES)
    assert LayerNorm not in kinds(model)
    assert all(layer.centred for layer in model.layers if isinstance(layer, AddPositions))


def test_a_stream_that_something_else_reads_is_not_centred():
    """Post-norm networks feed their Dense layers from the stream itself."""
    model = network("convtransformer", norm="layer", norm_position="post")
    result = rewritten(model, "centre")
    assert kinds(result).count(LayerNorm) == kinds(model).count(LayerNorm) == 2
