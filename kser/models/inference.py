"""Logits of a Keras model on prepared clips."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

BATCH_CLIPS = 128


def predict_logits(model: keras.Model, features: np.ndarray) -> np.ndarray:
    """(n, num_frames, num_mels) normalized log-mel to (n, num_classes) float32 logits, in inference mode."""
    if len(features) <= BATCH_CLIPS:  # tracing would take longer than this one call
        return model(tf.constant(features, tf.float32), training=False).numpy()
    call = _compiled(model)
    batches = [call(tf.constant(features[i : i + BATCH_CLIPS])).numpy() for i in range(0, len(features), BATCH_CLIPS)]
    return np.concatenate(batches)


def _compiled(model: keras.Model):
    """The model's inference graph, traced once and kept with the model."""
    if not hasattr(model, "_kser_inference"):
        spec = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
        # As a concrete function: otherwise TensorFlow warns of retracing when several models are used.
        function = tf.function(lambda x: model(x, training=False), autograph=False)
        model._kser_inference = function.get_concrete_function(spec)
    return model._kser_inference


def softmax(logits: np.ndarray) -> np.ndarray:
    """(..., num_classes) logits to probabilities."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def mean_divergence(wanted: np.ndarray, found: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence in nats of softmax(found) from softmax(wanted), logits (n, num_classes)."""
    log_wanted, log_found = (tf.nn.log_softmax(np.float64(logits)).numpy() for logits in (wanted, found))
    return float((np.exp(log_wanted) * (log_wanted - log_found)).sum(axis=1).mean())
