"""How many cores TensorFlow may use; must be set before its first operation."""

from __future__ import annotations

import tensorflow as tf


def use_threads(count: int) -> None:
    """Limits TensorFlow to `count` intra-op and `count` inter-op threads; 0 keeps its default."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
