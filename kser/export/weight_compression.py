"""Compresses weights of an int8 .tflite to short indices into tables, which TFLM decodes at run time (TFLM_DECODE).

The weights are first clustered to 2**bits values per scale: one table for a kernel with one scale, one per channel for a
kernel with a scale per channel (TFLM's decoder expects as many tables as scales). One-dimensional k-means has an exact
solution (Wang and Song 2011, "Ckmeans.1d.dp"), here over at most 256 different values. Clustering may cost accuracy, which
must be measured; decoding is exact: a compressed model computes the same bits as its clustered form.

It saves flash, not RAM: each kernel is decoded into the arena before its op runs. Only recent TFLM runs such a file;
TensorFlow Lite and the Arduino libraries lack the op.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tflite_micro import compression

from kser.errors import ConfigError, ModelFileError
from kser.tflite import interpreter, model_file, op_graph
from kser.training.metrics import score

spec = compression.spec

MIN_BITS, MAX_BITS = 1, 7
CHECKED_CLIPS = 4
# What a compressed kernel adds to the file besides indices and tables: two tensors, their names, a node. 270 bytes were
# measured on average over the 33 kernels of a Conformer.
_OVERHEAD_BYTES = 270
_HEADER_BYTES = 16
_WEIGHTED = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"})


def compress(model_bytes: bytes, bits: int) -> bytes:
    """The model with every int8 kernel compressed to `bits` bits per weight if that makes the file smaller.

    Raises:
      ConfigError: `bits` is not from 1 to 7.
      ModelFileError: no TensorFlow Lite model.
    """
    clustered = cluster(model_bytes, bits)
    kernels = _kernels(model_file.parse(clustered), bits)
    if not kernels:
        return clustered
    specs = [spec.Tensor(0, i, [spec.LookUpTableCompression(bits, _mode(t))]) for i, t in kernels.items()]
    # The compressor warns of tables that are not full, and of kernels with a shared buffer, which it leaves unchanged.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model_file.pack(model_file.parse(bytes(compression.compress(clustered, specs))))


@dataclass(frozen=True)
class Compressed:
    """A compressed model, and its comparison with the uncompressed one as JSON values."""

    model: bytes
    report: dict

    @property
    def pays(self) -> bool:
        """Whether any kernel is large enough to become smaller by compression."""
        return self.report["after"]["kernels"] > 0


def compress_and_measure(model_bytes: bytes, bits: int, features: np.ndarray, labels: np.ndarray) -> Compressed:
    """Compresses a model with kser's metadata, updates the metadata, and scores both models in TFLM.

    Args:
      features: (n, num_frames, num_mels) normalized held-out clips; labels: (n,) their classes.

    Raises:
      ConfigError: `bits` is not from 1 to 7.
      ModelFileError: the model lacks metadata, or TFLM decodes different weights than were encoded.
    """
    compressed = compress(model_bytes, bits)
    _check_decoding(compressed, cluster(model_bytes, bits), features[:CHECKED_CLIPS])
    before, after = (_figures(content, features, labels) for content in (model_bytes, compressed))
    metadata = {**model_file.read_metadata(model_bytes), "test_UA": after["UA"], "arena_bytes": after["arena_bytes"]}
    model = model_file.add_metadata(compressed, metadata)
    return Compressed(model, {"bits": bits, "before": before, "after": {**after, "bytes": len(model)}})


def _check_decoding(compressed: bytes, clustered: bytes, features: np.ndarray) -> None:
    if not np.array_equal(*(interpreter.TFLMRunner(content).logits(features) for content in (compressed, clustered))):
        raise ModelFileError("TFLM decodes different weights than were encoded; convert without compression.")


def _figures(model_bytes: bytes, features: np.ndarray, labels: np.ndarray) -> dict:
    runner = interpreter.TFLMRunner(model_bytes)
    logits = runner.logits(features)
    return {
        "bytes": len(model_bytes),
        "arena_bytes": runner.arena().total,
        "kernels": op_graph.describe(model_bytes).ops.get("TFLM_DECODE", 0),
        "UA": score(labels, logits.argmax(1), logits.shape[1]).UA,
    }


def cluster(model_bytes: bytes, bits: int) -> bytes:
    """The model with clustered but uncompressed weights, which any interpreter runs; same results as compressed.

    Raises:
      ConfigError: `bits` is not from 1 to 7.
      ModelFileError: no TensorFlow Lite model.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ConfigError(f"Weights are compressed to {MIN_BITS} to {MAX_BITS} bits, not {bits}.")
    model = model_file.parse(model_bytes)
    for tensor in _kernels(model, bits).values():
        buffer = model.buffers[tensor.buffer]
        weights = buffer.data.view(np.int8).reshape(tensor.shape).copy()
        axis = tensor.quantization.quantizedDimension
        for group in np.moveaxis(weights, axis, 0) if _num_tables(tensor) > 1 else [weights]:
            group[...] = nearest_of_few(group, 1 << bits)
        buffer.data = weights.view(np.uint8).ravel()
    return model_file.pack(model)


def _kernels(model: schema.ModelT, bits: int) -> dict[int, schema.TensorT]:
    """The constant int8 kernels of the main graph that compression makes smaller, by tensor index."""
    return {index: tensor for index, tensor in _weights(model) if _saved_bytes(tensor, bits) > 0}


def _weights(model: schema.ModelT) -> Iterator[tuple[int, schema.TensorT]]:
    graph = model.subgraphs[0]
    for op in graph.operators:
        if op_graph.op_name(model, op) in _WEIGHTED:
            tensor = graph.tensors[op.inputs[1]]
            constant = model.buffers[tensor.buffer].data is not None
            if constant and tensor.type == schema.TensorType.INT8:
                yield int(op.inputs[1]), tensor


def _saved_bytes(tensor: schema.TensorT, bits: int) -> int:
    count = int(np.prod(tensor.shape))
    tables = _num_tables(tensor) << bits
    return count - (-(-count * bits // 8) + tables + _HEADER_BYTES + _OVERHEAD_BYTES)


def _num_tables(tensor: schema.TensorT) -> int:
    return len(tensor.quantization.scale)


def _mode(tensor: schema.TensorT) -> spec.PerTensor | spec.PerChannel:
    return spec.PerTensor() if _num_tables(tensor) == 1 else spec.PerChannel(tensor.quantization.quantizedDimension)


def nearest_of_few(weights: np.ndarray, count: int) -> np.ndarray:
    """int8 weights, each replaced by one of `count` int8 values, chosen to minimize the sum of squared differences.

    Dynamic programming over the start of the last cluster among the sorted different values: with c the cost of a cluster,
    best[k, end] = min over start of best[k - 1, start] + c[start, end].
    """
    values, inverse, counts = np.unique(weights, return_inverse=True, return_counts=True)
    if len(values) <= count:
        return weights
    cost = _cluster_costs(values, counts)
    best, starts = cost[0], []
    for _ in range(count - 1):
        totals = best[:, np.newaxis] + cost
        starts.append(totals.argmin(0))
        best = totals.min(0)
    edges = [len(values)]
    for start in reversed(starts):
        edges.append(start[edges[-1]])
    centres = np.empty_like(values)
    for start, end in zip([0, *edges[:0:-1]], edges[::-1], strict=True):
        if end > start:
            centres[start:end] = np.rint(np.average(values[start:end], weights=counts[start:end]))
    return centres[inverse].reshape(weights.shape)


def _cluster_costs(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n + 1, n + 1): sum of squared differences from their mean of values[start:end]; infinite where end < start."""
    x = values.astype(np.float64)
    weight, first, second = (np.concatenate([[0.0], np.cumsum(counts * x**power)]) for power in range(3))
    w, a, b = (sums - sums[:, np.newaxis] for sums in (weight, first, second))
    return np.where(w > 0, b - a**2 / np.where(w > 0, w, 1), np.where(w == 0, 0.0, np.inf))
