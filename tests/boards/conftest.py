"""Models that several tests of kser.boards read, converted once."""

from __future__ import annotations

import pytest
import tensorflow as tf

from kser.boards import inspection
from kser.config import to_dict
from kser.export import convert
from kser.tflite import model_file
from tests import toy_model
from tests.boards.diagnoses import FEATURES


@pytest.fixture(scope="session")
def model_bytes():
    """A healthy int8 model with kser's metadata."""
    bare = convert.to_int8_tflite(toy_model.toy_model(), toy_model.features(10))
    return model_file.add_metadata(bare, {"features": to_dict(FEATURES)})


@pytest.fixture(scope="session")
def gelu_bytes():
    return convert.to_int8_tflite(toy_model.one_op_model(tf.nn.gelu, "gelu"), toy_model.features(5))


@pytest.fixture(scope="session")
def findings(model_bytes):
    return inspection.inspect(model_bytes, inspection.measure(model_bytes))
