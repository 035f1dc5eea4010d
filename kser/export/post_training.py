"""Post-training conversion of any Keras model to .tflite, in one call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tf_keras as keras

from kser.errors import ConfigError, FoldError
from kser.export import convert
from kser.export.device_ops import one_operation_each, written_out_norms
from kser.export.fake_quant import fake_quantized, rounded_kernels
from kser.export.fold import fold_model, foldable_layers
from kser.export.graph import Graph, build_graph, read_graph
from kser.export.quantizers import is_known
from kser.export.ranges import measure_ranges
from kser.export.rewrites.affine import fold_batch_norms


def to_tflite(model: keras.Model, representative: np.ndarray | None = None, dtype: str = "int8") -> bytes:
    """The model as a .tflite with batch 1, with its HRFDense layers folded.

    If kser has a QuantizeConfig for every layer, it sets the scales itself: BatchNorms are merged into the layer before
    them, and each activation range is measured on `representative`. These layers are those of kser's backbones and, in a
    flat graph, Conv2D, DepthwiseConv2D, Dense, BatchNormalization, Flatten, Reshape, pooling, Add, Multiply, and the
    activations ReLU, sigmoid, softmax, swish. Any other model is quantized by TensorFlow Lite's post-training calibration
    on `representative`. Rewrites of kser.export.rewrites are not applied; apply them before.

    Args:
      model: with one float32 input of fixed shape (None, ...). A model with another dtype policy is converted as float32.
      representative: float32 (n, ...) training data, n >= 1, for int8 and int16x8.
      dtype: `int8` (input and output too), `int16x8` (activations of 16 bits, weights of 8) or `float32`.

    Raises:
      ConfigError: an unknown `dtype`, or the input or `representative` has a wrong shape or type.
      FoldError: an HRFDense stands where it cannot be folded.
      KserError: TensorFlow Lite cannot express the model, or not all of it in integers.

    Example:
      >>> model = keras.Sequential([keras.Input((8,)), HRFDense(16, "relu"), keras.layers.Dense(3)])
      >>> model_bytes = to_tflite(model, np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32))
      >>> TFLMRunner(model_bytes).logits(np.zeros((2, 8), np.float32)).shape
      (2, 3)
    """
    if dtype not in _CONVERTERS:
        raise ConfigError(f"dtype must be one of {', '.join(_CONVERTERS)}, not '{dtype}'.")
    if dtype != "float32" and representative is None:
        raise ConfigError(f"Conversion to {dtype} needs representative data, float32 inputs of the model (n, ...).")
    return _CONVERTERS[dtype](_float32(fold_model(model) if foldable_layers(model) else model), representative)


def _to_float(model: keras.Model, representative) -> bytes:
    return convert.to_float_tflite(model)


def _to_int8(model: keras.Model, representative: np.ndarray) -> bytes:
    convert.require_inputs(model, representative)
    graph = _known_graph(model)
    if graph is not None:
        model = fake_quantized(rounded_kernels(graph, {}), measure_ranges(graph, representative))
    return convert.to_int8_tflite(model, representative)


def _to_int16x8(model: keras.Model, representative: np.ndarray) -> bytes:
    graph = _known_graph(model)
    return convert.to_int16x8_tflite(build_graph(written_out_norms(graph)) if graph else model, representative)


_CONVERTERS: dict[str, Callable] = {"int8": _to_int8, "int16x8": _to_int16x8, "float32": _to_float}


def _known_graph(model: keras.Model) -> Graph | None:
    """The model's graph in the device's operations; None unless kser has a QuantizeConfig for each."""
    try:
        graph = one_operation_each(fold_batch_norms(read_graph(model)))
    except FoldError:  # nested, subclassed, or with several inputs
        return None
    return graph if is_known(graph) else None


def _float32(model: keras.Model) -> keras.Model:
    """The model, or a float32 copy if some layer computes in another type."""
    if all(layer.dtype_policy.name == "float32" for layer in model._flatten_layers()):
        return model
    result = keras.models.clone_model(model, clone_function=_float32_layer)
    result.set_weights(model.get_weights())
    return result


def _float32_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, keras.Model):
        return keras.models.clone_model(layer, clone_function=_float32_layer)
    return type(layer).from_config({**layer.get_config(), "dtype": "float32"})
