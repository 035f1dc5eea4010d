"""How many cores TensorFlow may use; to be said before its first operation."""

from __future__ import annotations

import tensorflow as tf


def use_threads(count: int) -> None:
    """Limits TensorFlow to `count` threads within an operation and as many across; 0 leaves its default."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
