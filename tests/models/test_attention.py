"""Products of attention against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kser.errors import ConfigError
from kser.models.attention import AttentionProduct, LocalMix, LocalScores, block_size
from tests.models.leaf_layers import inputs


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_attention_product_is_the_scaled_sum_over_the_last_axes(scale):
    left, right = inputs(2, 3, 5, 4), inputs(2, 3, 6, 4, seed=1)
    expected = scale * np.einsum("bhnd,bhmd->bhnm", left.astype(np.float64), right)
    np.testing.assert_allclose(AttentionProduct(scale)([left, right]), expected, rtol=1e-5, atol=1e-6)


LOCAL_CASES = [(40, 5), (23, 5), (50, 9), (10, 9), (3, 9), (1, 5), (131, 9), (12, 1), (247, 5)]


def windows(x: np.ndarray, window: int) -> np.ndarray:
    """(batch, heads, tokens, d) to (batch, heads, tokens, window, d), zeros outside the clip."""
    padded = np.pad(x, ((0, 0), (0, 0), (window // 2, window // 2), (0, 0)))
    return np.stack([padded[:, :, i : i + window] for i in range(x.shape[2])], axis=2)


def tokens_first(blocks: np.ndarray, heads: int, num_tokens: int) -> np.ndarray:
    """(batch * heads, blocks, block, n) to (batch, heads, tokens, n)."""
    return blocks.reshape(-1, heads, blocks.shape[1] * blocks.shape[2], blocks.shape[3])[:, :, :num_tokens]


@pytest.mark.parametrize(("num_tokens", "window"), LOCAL_CASES)
def test_local_scores_are_those_of_single_windows(num_tokens, window):
    queries, keys = inputs(2, 3, num_tokens, 4), inputs(2, 3, num_tokens, 4, seed=1)
    scores = LocalScores(window, 0.5)([queries, keys]).numpy()
    expected = 0.5 * np.einsum("bhtd,bhtwd->bhtw", queries, windows(keys, window))
    np.testing.assert_allclose(tokens_first(scores, 3, num_tokens), expected, rtol=1e-5, atol=1e-5)
    assert scores.shape[2] == block_size(num_tokens, window) and scores.shape[3] == window


@pytest.mark.parametrize(("num_tokens", "window"), LOCAL_CASES)
def test_local_attention_is_that_of_single_windows(num_tokens, window):
    queries, keys, values = (inputs(2, 3, num_tokens, 4, seed=seed) for seed in range(3))
    weights = tf.nn.softmax(LocalScores(window)([queries, keys]))
    scores = np.einsum("bhtd,bhtwd->bhtw", queries, windows(keys, window))
    expected = np.einsum("bhtw,bhtwd->bhtd", tf.nn.softmax(scores), windows(values, window))
    np.testing.assert_allclose(LocalMix(window)([weights, values]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [0, 4, -3])
def test_a_window_that_has_no_middle_is_refused(window):
    with pytest.raises(ConfigError, match=f"odd and positive, not {window}"):
        LocalScores(window)
