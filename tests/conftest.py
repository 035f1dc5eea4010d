"""Fixtures for all tests. Importing kser here, before any test module, settles what TensorFlow reads once."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import pytest

import kser  # noqa: F401

matplotlib.use("Agg")

CORPUS_FOLDER = "ravdess_16k_flac"


@pytest.fixture(scope="session")
def speech_data_dir() -> Path:
    """The folder that holds `ravdess_16k_flac`: $KSER_DATA_DIR, or shared/data beside the repository; without it, skip."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    data_dir = Path(os.environ.get("KSER_DATA_DIR") or beside)
    if not (data_dir / CORPUS_FOLDER).is_dir():
        pytest.skip(f"no {CORPUS_FOLDER} in {data_dir}; set KSER_DATA_DIR to the folder that holds it")
    return data_dir
