"""Logits in batches, and probabilities of them."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.models.inference import BATCH_CLIPS, mean_divergence, predict_logits, softmax


def model_with_dropout() -> keras.Model:
    x = keras.Input((3, 2))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dropout(0.5)(keras.layers.Flatten()(x)))
    return keras.Model(x, keras.layers.Dense(4)(hidden))


def test_any_number_of_clips_goes_through_in_inference_mode():
    model = model_with_dropout()
    kernel = model.layers[-1].get_weights()[0]
    clips = np.random.default_rng(0).normal(size=(2 * BATCH_CLIPS + 1, 3, 2)).astype(np.float32)
    logits = predict_logits(model, clips)
    assert logits.dtype == np.float32 and logits.shape == (len(clips), 4)
    expected = clips.reshape(len(clips), 6) / np.sqrt(1 + 1e-3) @ kernel  # BatchNorm's starting statistics
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(predict_logits(model, clips), logits)


def test_new_weights_are_seen():
    model = model_with_dropout()
    clips = np.ones((1, 3, 2), np.float32)
    predict_logits(model, clips)
    model.layers[-1].set_weights([np.zeros((6, 4)), np.arange(4)])
    np.testing.assert_array_equal(predict_logits(model, clips), [[0, 1, 2, 3]])


def test_softmax():
    probabilities = softmax(np.float32([[0, np.log(3)], [1000, 1000]]))
    np.testing.assert_allclose(probabilities, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)
    assert probabilities.dtype == np.float32


def test_divergence_is_that_of_the_textbook():
    wanted, found = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]), np.log([[0.25, 0.5, 0.25], [0.1, 0.8, 0.1]])
    shifted = found + [[3.0], [-200.0]]  # probabilities do not change
    assert mean_divergence(wanted, shifted) == pytest.approx((0.5 * np.log(2) - 0.25 * np.log(2)) / 2)
    assert mean_divergence(wanted, wanted) == 0
