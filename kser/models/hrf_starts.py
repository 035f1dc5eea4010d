"""Initialization of HRF's factors: their product, and how it is divided among them."""

from __future__ import annotations

import zlib

import numpy as np


def start_factors(kernel: np.ndarray, init: str, rank: int, depth: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`depth + 1` factors, float64: (d_in, rank), (rank, rank), ..., (rank, units); see HRFDense for what `init` means.

    Args:
      kernel: (d_in, units), the product of the factors; for `init` "glorot" only its shape is used.
      rank: at least d_in.
    """
    if init == "glorot":
        dims = [len(kernel), *[rank] * depth, kernel.shape[1]]
        return [_glorot(rng, rows, columns) for rows, columns in zip(dims, dims[1:], strict=False)]
    first, middle, last = _identity_factors(kernel) if init == "identity" else _spectral_factors(kernel, depth)
    return _widened(rng, first, [middle] * (depth - 1), last, rank)


def start_generator(initializer, kernel: np.ndarray) -> np.random.Generator:
    """Generator for the random entries beyond the kernel: seeded by the initializer's seed or, without one, by the kernel
    it drew, which follows keras.utils.set_random_seed."""
    seed = getattr(initializer, "seed", None)
    return np.random.default_rng(zlib.crc32(kernel.tobytes()) if seed is None else seed)


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    limit = np.sqrt(6 / (rows + columns))
    return rng.uniform(-limit, limit, (rows, columns))


def _identity_factors(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First, middle and last factor: all identities but the last."""
    identity = np.eye(len(kernel))
    return identity, identity, kernel


def _spectral_factors(kernel: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First, middle and last factor, all with the same singular values."""
    left, singular, right = np.linalg.svd(kernel, full_matrices=False)
    shared = singular ** (1 / (depth + 1))
    return left * shared, np.diag(shared), shared[:, None] * right


def _widened(rng, first: np.ndarray, middles: list[np.ndarray], last: np.ndarray, rank: int) -> list[np.ndarray]:
    """The factors extended to their full inner width, with the same product."""
    used, extra = first.shape[1], rank - first.shape[1]
    scale = np.linalg.norm(first) / np.sqrt(first.size)
    result = [np.concatenate([first, scale * rng.standard_normal((len(first), extra))], axis=1)]
    for middle in middles:
        wide = np.zeros((rank, rank))
        wide[:used, :used] = middle
        wide[used:, used:] = rng.standard_normal((extra, extra)) / np.sqrt(max(1, extra))
        result.append(wide)
    return [*result, np.concatenate([last, np.zeros((extra, last.shape[1]))])]
