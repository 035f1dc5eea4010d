"""Damaged copies of a model, always the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def truncated(model_bytes: bytes) -> Iterator[bytes]:
    """Cut off at every sixteenth of its length."""
    return (model_bytes[: len(model_bytes) * part // 16] for part in range(16))


def flipped(model_bytes: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` copies with one to eight bytes changed."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        content = bytearray(model_bytes)
        for position in random.integers(0, len(content), random.integers(1, 9)):
            content[position] ^= random.integers(1, 256)
        yield bytes(content)
