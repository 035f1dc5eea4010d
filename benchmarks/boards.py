"""Which preset runs on which board, how often it can decide, what RAM and flash it leaves, as bin/doctor estimates it.

.venv/bin/python -m benchmarks.boards

The weights are the untrained ones of seed 0, on which none of these figures depends.
"""

from __future__ import annotations

import numpy as np
from absl import app, flags

from kser.boards import doctor
from kser.boards.catalog import BOARDS, KIB
from kser.config import FeatureConfig, to_dict
from kser.export.convert import to_int8_tflite
from kser.export.rewrites import deploy_model
from kser.models.presets import build_model, preset
from kser.tflite.model_file import add_metadata

FLAGS = flags.FLAGS
flags.DEFINE_string("backbone", "conformer", "Backbone of the presets.")
flags.DEFINE_list("presets", "micro,light", "Presets to convert.")

NUM_CLASSES = 8
NUM_CLIPS = 8


def converted(backbone: str, name: str) -> bytes:
    """A preset for clips of the default length, with the metadata that tell the doctor of the front end."""
    features = FeatureConfig()
    shape = (NUM_CLIPS, features.num_frames, features.num_mels)
    clips = np.random.default_rng(0).standard_normal(shape, np.float32)
    model = deploy_model(build_model(preset(backbone, name), features, NUM_CLASSES), clips).model
    return add_metadata(to_int8_tflite(model, clips), {"features": to_dict(features)})


def cell(diagnosis: doctor.Diagnosis) -> str:
    """How often a decision can be had, and the RAM and flash left in kB; why not, where the model does not run at all."""
    figures = diagnosis.figures
    interval = doctor.shortest_interval_ms(figures)
    ram, flash = figures.free_ram_bytes - figures.ram_bytes, figures.free_flash_bytes - figures.flash_bytes
    if ram < 0 or flash < 0:
        return "does not fit"
    if interval is None:
        return "too slow: features alone take too long"
    return f"every {interval} ms, {ram // KIB}, {flash // KIB}"


def main(_) -> None:
    print(f"| board | processor | {' | '.join(f'{FLAGS.backbone} {name}' for name in FLAGS.presets)} |")
    print("|---|---|" + "---|" * len(FLAGS.presets))
    names = tuple(BOARDS)
    columns = [doctor.examine(converted(FLAGS.backbone, name), names) for name in FLAGS.presets]
    for name, *diagnoses in zip(names, *columns, strict=True):
        board = BOARDS[name]
        print(f"| {board.title} | {board.core}, {board.clock_mhz:g} MHz | {' | '.join(map(cell, diagnoses))} |")


if __name__ == "__main__":
    app.run(main)
