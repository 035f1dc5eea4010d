"""Models that several tests of kser.tflite read, converted once."""

from __future__ import annotations

import pytest

from kser.export import convert
from tests import toy_model


@pytest.fixture(scope="session")
def model():
    return toy_model.toy_model()


@pytest.fixture(scope="session")
def int8_bytes(model):
    return convert.to_int8_tflite(model, toy_model.features(50))


@pytest.fixture(scope="session")
def float_bytes(model):
    return convert.to_float_tflite(model)
