"""Any Keras model becomes a .tflite in one call, and computes in TFLM what it computes in Keras."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.errors import ConfigError, FoldError, KserError
from kser.export.fold import fold_model
from kser.export.post_training import to_tflite
from kser.models.hrf import HRFDense
from kser.tflite.interpreter import TFLMRunner
from kser.tflite.op_graph import describe
from tests.export.users_models import Subclassed, cnn, functional, nested, trained, values
from tests.networks import clips, network

# Of the range of outputs: rounding to 256 steps in each of a handful of layers, to 65536 and of kernels alone, not at all.
TOLERANCES = {"int8": 0.08, "int16x8": 0.02, "float32": 1e-5}


def swish_and_softmax() -> keras.Model:
    """A flat network of layers that kser quantizes itself, an activation in each way to write it."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, input_shape=(8, 8, 2)),
            keras.layers.ReLU(max_value=6.0),
            keras.layers.Conv2D(4, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("swish"),
            keras.layers.AveragePooling2D(),
            keras.layers.Flatten(),
            HRFDense(6, "sigmoid", expansion=2),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def unknown_layers() -> keras.Model:
    """Layers and operators that kser has no QuantizeConfig for."""
    x = keras.Input((12, 4))
    y = keras.layers.Conv1D(6, 3, activation="relu")(x)
    y = keras.layers.LeakyReLU()(HRFDense(6, expansion=2)(y)) * 0.5
    return keras.Model(x, HRFDense(3, "tanh", expansion=2)(keras.layers.GlobalAveragePooling1D()(y)), name="unknown")


MODELS = {
    "cnn": cnn,
    "activations": swish_and_softmax,
    "unknown layers": unknown_layers,
    "nested": lambda: functional(nested(), keras.layers.Flatten()),
    "half precision": lambda: functional(HRFDense(6, "relu", expansion=2, dtype="mixed_float16"), keras.layers.Flatten()),
    "double precision": lambda: functional(HRFDense(6, "relu", expansion=2, dtype="float64"), keras.layers.Flatten()),
}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_users_model_runs_in_tflm(make, dtype):
    model = trained(make())
    x = values(64, *model.input_shape[1:])
    model_bytes = to_tflite(model, x, dtype)
    runner = TFLMRunner(model_bytes)
    assert runner.input.shape == (1, *model.input_shape[1:])
    assert runner.input.dtype == runner.output.dtype == {"int8": "int8", "int16x8": "int16", "float32": "float32"}[dtype]
    half = any(layer.compute_dtype == "float16" for layer in model.layers)
    tolerance = max(TOLERANCES[dtype], 2e-3 if half else 0)
    expected = np.asarray(model(x), np.float32)
    assert np.abs(runner.logits(x) - expected).max() <= tolerance * np.ptp(expected)


def test_the_whole_path_of_a_users_cnn():
    """Built, trained a few steps, folded to the same outputs, converted to int8 and run in TFLM."""
    keras.utils.set_random_seed(1)
    model = trained(cnn(kernel_regularizer="l2"))
    folded, x = fold_model(model), values(64, 8, 8, 2)
    y = model(x).numpy()
    np.testing.assert_allclose(folded(x), y, rtol=1e-5, atol=1e-5 * np.abs(y).max())
    assert to_tflite(folded, x) == to_tflite(model, x)
    runner = TFLMRunner(to_tflite(folded, x))
    assert np.mean(runner.logits(x).argmax(1) == y.argmax(1)) > 0.9
    assert runner.arena().total > 0


def test_ksers_own_quantization_is_used_where_it_knows_all_layers():
    """It alone gives every tensor that is rounded the range that was measured: here the logits' one."""
    model = fold_model(network("conformer"))
    runner = TFLMRunner(to_tflite(model, clips()))
    logits = model(clips()).numpy()
    span = max(logits.max(), 0) - min(logits.min(), 0)
    assert runner.output.scale == pytest.approx(span / 255, rel=1e-3)


def test_batch_norms_cost_nothing():
    ops = describe(to_tflite(cnn(), values(8, 8, 8, 2))).ops
    assert set(ops) == {"CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "RESHAPE"}


def test_a_subclassed_model_is_told_what_to_do():
    with pytest.raises(FoldError, match="Cannot fold hidden"):
        to_tflite(trained_subclassed(), values(8, 6))
    plain = keras.Sequential([keras.layers.Dense(2)], name="never_built")
    with pytest.raises(ConfigError, match="'never_built' must have one input of fixed shape"):
        to_tflite(plain, values(8, 6))


def trained_subclassed() -> keras.Model:
    model = Subclassed()
    model(values(2, 6))
    return model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "Conversion to int8 needs representative data"),
        ((values(0, 8, 8, 2),), "at least one representative"),
        ((values(4, 8, 8, 3),), r"must be float32 \(n, 8, 8, 2\), not float32 \(4, 8, 8, 3\)"),
        ((values(4, 8, 8, 2), "int4"), "dtype must be one of int8, int16x8, float32, not 'int4'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(KserError, match=message):
        to_tflite(cnn(), *arguments)
