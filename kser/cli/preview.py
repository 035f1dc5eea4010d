"""Writes sounds and spectrograms of audio files (or of all files in folders) before and after augmentation."""

from __future__ import annotations

from absl import flags

from kser.cli import command, settings
from kser.config import AugmentConfig, FeatureConfig
from kser.errors import ConfigError

FLAGS = flags.FLAGS
MAX_COUNT = 16


def define_flags() -> None:
    default = AugmentConfig()
    meaning = AugmentConfig.__dataclass_fields__["augment"].metadata["help"]
    flags.DEFINE_string("augment", default.augment, meaning)
    flags.DEFINE_string("out_dir", "", "Directory to write to; existing files are not overwritten.")
    flags.DEFINE_integer("seed", 0, "Random seed of the augmentation.", 0, 2**31 - 1)
    flags.DEFINE_integer("count", 1, "Augmented versions per clip.", 1, MAX_COUNT)
    settings.define(FeatureConfig)


def main(paths: list[str]) -> None:
    if not FLAGS.out_dir:
        raise ConfigError("bin/preview needs --out_dir, a directory to write to.")
    if not paths:
        raise ConfigError("bin/preview needs one or more audio files or folders.")
    augment, features = AugmentConfig(FLAGS.augment), settings.feature_config()

    from kser.audio.preview import Previews
    from kser.tflite.predict import audio_files

    previews = Previews(list(audio_files(paths)), augment, features, FLAGS.out_dir, FLAGS.seed, FLAGS.count)
    for note in previews.notes():
        print(note)
    for path in previews.write():
        print(path, flush=True)


def run() -> None:
    define_flags()
    command.run(main, positional="audio files")


if __name__ == "__main__":
    run()
