"""Export of a run directory's network, with its settings, labels and held-out clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kser.config import QuantizationConfig, to_dict
from kser.export.exporter import Export, export
from kser.export.rewrites import DEPLOY_PASSES
from kser.export.schemes import Tune
from kser.models.presets import build_model, plain
from kser.training import run_directory
from kser.training.input_pipeline import Part
from kser.training.run_directory import Run

# Of the loudest frames of training clips: what a microphone's gain should bring speech to.
LEVEL_PERCENTILES = (5, 50, 95)


def export_run(
    run: Run,
    representative: np.ndarray,
    test: Part,
    passes: Sequence[str] = tuple(DEPLOY_PASSES),
    settings: QuantizationConfig = QuantizationConfig(),  # noqa: B008 (frozen)
    tune: Tune | None = None,
    loudest_dbfs: Sequence[float] = (),
) -> Export:
    """`export` of the run's network with its best weights.

    Args:
      representative: (n, num_frames, num_mels) normalized clips of the training part.
      test: the held-out part.
      loudest_dbfs: levels of the training clips' loudest frames, for whoever sets a microphone's gain.

    Raises:
      RunError: the weights are missing, damaged, or of another network.
      ConfigError, FoldError, KserError: as `export` does.
    """
    model = run_directory.load_model(run)
    unfactorized = build_model(plain(run.config.model), run.config.features, len(run.labels))
    metadata = run_metadata(run)
    if len(loudest_dbfs):
        metadata["training_dbfs"] = [round(float(level), 1) for level in np.percentile(loudest_dbfs, LEVEL_PERCENTILES)]
    return export(
        model, representative, test.features, test.labels, settings, passes, metadata, plain=unfactorized, tune=tune
    )


def run_metadata(run: Run) -> dict:
    """Metadata of a run's model: what prediction and boards need, and its origin."""
    return {
        "labels": list(run.labels),
        "features": to_dict(run.config.features),
        "normalization": run.normalization.to_dict(),
        "smoothing": to_dict(run.config.smoothing),
        "model": to_dict(run.config.model),
        "corpus": run.config.data.dataset,
        "test_corpus": run.config.data.eval_dataset or run.config.data.dataset,
        "label_set": run.config.data.label_set,
        "protocol": run.config.data.protocol,
        "split": run.config.data.split,
        "test_speakers": list(run.test_speakers),
        "seed": run.config.train.seed,
        "select": run.config.train.select,
    }
