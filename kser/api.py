"""The functions of `import kser`: from a corpus, or arrays, to a network on a board. The commands call them too."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser import __version__
from kser.boards import doctor
from kser.boards.doctor import Diagnosis
from kser.config import (
    AugmentConfig,
    DataConfig,
    FeatureConfig,
    HRFConfig,
    ModelConfig,
    RunConfig,
    SmoothingConfig,
    TrainConfig,
    from_dict,
    to_dict,
)
from kser.datasets.corpus import Corpus
from kser.datasets.feature_cache import load_features
from kser.errors import ConfigError
from kser.export import post_training
from kser.export.fold import fold_model
from kser.export.rewrites import DEPLOY_PASSES, deploy_model
from kser.models.inference import predict_logits, softmax
from kser.models.presets import BACKBONES, PRESETS, build_model, require_own_settings
from kser.tflite import model_file
from kser.tflite.predict import Prediction, Predictor
from kser.tflite.sandbox import Sandbox, SandboxedRunner
from kser.training import arrays, input_pipeline, run_data, trainer
from kser.training.evaluation import Evaluation, Predictions, evaluate_predictions
from kser.training.input_pipeline import EpochBatches, Part, TrainingData

MODELS = {f"{backbone}_{size}": config for (backbone, size), config in PRESETS.items()}
DTYPES = ("int8", "int16x8", "float32")
REPRESENTATIVE_CLIPS = 200
# Clips drawn to compare a network with its rewritten form on.
CHECKED_CLIPS = 8


# --- Data -------------------------------------------------------------------------------------------------------------


def load_split(
    corpus: Corpus,
    number: int = 1,
    *,
    protocol: str = "",
    features: FeatureConfig | None = None,
    augment: str = AugmentConfig.augment,
    select: str = TrainConfig.select,
    validation_speakers: int = 0,
    seed: int = 0,
    cache_dir: str = "",
) -> tuple[TrainingData, Part | None, Part]:
    """Training, validation and test part of a corpus, as log-mel; computed once and then read from a cache.

    A split whose test part is known from training is refused: no recording is in both, and no speaker, unless the protocol
    shares speakers by definition.

    Args:
      corpus: what `load_corpus` returned.
      number: which split of the protocol, from 1.
      protocol: how the corpus is split; empty: as its literature does.
      features: settings of the log-mel; None: `FeatureConfig()`.
      augment: what is done to training clips, NAME:STRENGTH separated by commas, or "none"; `bin/train --help` lists them.
      select: "validation" holds some speakers of the training part out, by whom the best epoch is chosen; with "last" they
        are trained on and the validation part is None.
      validation_speakers: how many these are; 0: 15 % of those of the training part.
      seed: draws the validation speakers and the augmented sounds.
      cache_dir: where the log-mel is kept; empty: `$KSER_CACHE_DIR` or the user's cache.

    Returns:
      train: what `fit` takes, with the label names, settings and normalization that `to_tflite` puts into the model.
      validation, test: `features` (n, num_frames, num_mels) normalized log-mel, `labels` (n,) indices into
        `corpus.labels`, `speakers` (n,) names.

    Raises:
      DatasetError: there is no such split, an audio file cannot be used, or the test part is known from training.
      ConfigError: a setting is out of range.

    Example:
      >>> features = kser.FeatureConfig(clip_seconds=0.6, num_mels=16)
      >>> train, validation, test = kser.load_split(corpus, 1, features=features, select="validation")
      >>> test.features.shape, test.labels.shape, sorted(set(test.speakers))
      ((6, 57, 16), (6,), ['ann'])
    """
    config = RunConfig(
        DataConfig(corpus.name, protocol=protocol, split=number, validation_speakers=validation_speakers),
        features or FeatureConfig(),
        augment=AugmentConfig(augment),
        train=TrainConfig(seed=seed, select=select),
    )
    clips = load_features(corpus, config.features, cache_dir)
    split = run_data.divide(corpus, clips, config).split
    train = input_pipeline.training_data(corpus, clips, split, config, cache_dir)
    validation, test = (
        input_pipeline.evaluation_part(corpus, clips, indices, train.normalization) if indices else None
        for indices in (split.validation, split.test)
    )
    return train, validation, test


def load_waveforms(
    train: tuple,
    test: tuple,
    validation: tuple | None = None,
    *,
    labels: tuple[str, ...],
    features: FeatureConfig | None = None,
    augment: str | None = None,
) -> tuple[TrainingData, Part | None, Part]:
    """The same as `load_split`, of recordings in memory that you have split yourself: the normalization is the training
    part's, no speaker is looked for in two parts.

    Args:
      train, test, validation: (waveforms, y) or (waveforms, y, speakers): n arrays (num_samples,) of floats in [-1, 1] at
        16 kHz, label indices (n,), and names (n,), of which only confidence intervals are made.
      labels: names of the labels, in the order of their indices.
      features: settings of the log-mel; None: `FeatureConfig()`.
      augment: as in `load_split`, without the steps that take the sound; None: all others of its default.

    Returns:
      As `load_split`.

    Raises:
      ConfigError: arrays of another form, or labels that are out of range.
      AudioError: a recording is too short, silent, or not finite.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> waveforms, y = [rng.uniform(-0.1, 0.1, 12000) for _ in range(12)], np.arange(12) % 3
      >>> mine, _, held_out = kser.load_waveforms(
      ...     (waveforms[:9], y[:9]), (waveforms[9:], y[9:]), labels=("low", "middle", "high"), features=features
      ... )
      >>> held_out.features.shape
      (3, 57, 16)
    """
    recommended = arrays.without_stages(AugmentConfig(), ("sound",))
    chosen = recommended if augment is None else AugmentConfig(augment)
    if chosen.steps("sound"):
        raise ConfigError(f"Of augment {augment!r} recordings in memory cannot have {chosen.steps('sound')[0][0]}.")
    return arrays.split_of_waveforms(train, validation, test, labels, features or FeatureConfig(), chosen)


# --- Networks ---------------------------------------------------------------------------------------------------------


def create_model(
    name: str,
    num_classes: int,
    hrf: int | HRFConfig = 4,
    *,
    features: FeatureConfig | None = None,
    seed: int = 0,
    **settings,
) -> keras.Model:
    """An untrained network, by the name of its backbone and size.

    Args:
      name: BACKBONE_SIZE, of conformer, convtransformer and speechformer, micro (at most 60 k parameters), light (250 k)
        and large.
      num_classes: length of the output.
      hrf: inner width of HRF in the feed-forward networks, in multiples of a layer's input width; 0: the plain network.
      features: settings of the log-mel, which make the input's shape; None: `FeatureConfig()`.
      seed: draws the starting weights and the dropout.
      settings: single sizes in place of the preset's, as `hidden_dim=48`; `bin/train --help` lists them.

    Returns:
      A flat Functional model, (batch, num_frames, num_mels) normalized log-mel to (batch, num_classes) logits.

    Raises:
      ConfigError: there is no such model, or no such setting.

    Example:
      >>> model = kser.create_model("conformer_micro", num_classes=3, hrf=4, features=features, num_layers=1)
      >>> model.input_shape, model.output_shape
      ((None, 57, 16), (None, 3))
    """
    if name not in MODELS:
        raise ConfigError(f"There is no model '{name}'; known: {', '.join(MODELS)}.")
    if num_classes < 2:
        raise ConfigError(f"num_classes must be at least 2, not {num_classes}.")
    factorized = hrf if isinstance(hrf, HRFConfig) else HRFConfig(expansion=hrf)
    require_own_settings(MODELS[name].backbone, settings)
    config = from_dict(ModelConfig, {**to_dict(MODELS[name]), "hrf": to_dict(factorized), **settings})
    return build_model(config, features or FeatureConfig(), num_classes, seed)


def fit(
    model: keras.Model, train, validation=None, *, augment: str | None = None, verbose: bool = True, **settings
) -> list[dict]:
    """Trains a model in place, as `bin/train` does: Adam with warm-up and a cosine schedule, decoupled weight decay of the
    kernels (of the product, where HRF factorizes one), label smoothing, augmentation, averaged weights.

    Args:
      model: (batch, num_frames, num_mels) to (batch, num_classes) logits, no softmax: one of `create_model`, or your own.
      train: the training part of `load_split` or `load_waveforms`; or (x, y), log-mel (n, num_frames, num_mels) normalized
        by you and label indices (n,) or one-hot rows (n, num_classes); or a tf.data.Dataset of batches of these, which is
        an epoch, shuffled and augmented by you.
      validation: likewise; the epoch with the highest UA on it is kept. None: the last one is.
      augment: what is done to training clips, as in `load_split`; None: what the part was loaded for, and for (x, y)
        SpecAugment and mixup as by default. Not for a Dataset.
      verbose: whether each epoch's scores are printed.
      settings: `epochs`, `batch_size`, `learning_rate`, `warmup_share`, `weight_decay`, `hrf_decay`, `label_smoothing`,
        `class_weight_power`, `seed`; meaning and defaults are those of `bin/train --help`.

    Returns:
      A row an epoch, with epoch, loss, learning_rate and, where a part validates, val_loss and val_UA.

    Raises:
      ConfigError: an unknown setting or one out of range, data of another form or that do not fit the model.

    Example:
      >>> history = kser.fit(model, train, validation, epochs=2, batch_size=8, verbose=False)
      >>> [row["epoch"] for row in history], sorted(history[0])
      ([1, 2], ['epoch', 'learning_rate', 'loss', 'val_UA', 'val_loss'])
      >>> x, y = np.random.default_rng(0).normal(size=(12, 57, 16)), np.arange(12) % 3
      >>> len(kser.fit(model, (x, y), epochs=1, verbose=False))
      1
      >>> dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(12).batch(4)
      >>> len(kser.fit(model, dataset, epochs=1, verbose=False))
      1
    """
    num_classes = _num_classes(model)
    config = _train_config(model, settings)
    if isinstance(train, tf.data.Dataset):
        _require_unset({"augment": augment, **settings}, ("augment", "batch_size", "class_weight_power"))
        batches = arrays.dataset_batches(train, num_classes)
        _require_shape(model, next(train.as_numpy_iterator())[0].shape)
    else:
        batches = _batches(model, arrays.training_data(train, num_classes), augment, config)
    held_out = None if validation is None else _part(model, validation)
    return trainer.fit(model, batches, held_out, config, _Printed() if verbose else _Silent())


def _batches(model: keras.Model, data: TrainingData, augment: str | None, config: TrainConfig) -> EpochBatches:
    _require_shape(model, data.features.shape)
    weights = input_pipeline.class_weights(data.labels, data.num_classes, config.class_weight_power)
    features = data.config.features if data.config else FeatureConfig()
    run = RunConfig(features=features, augment=arrays.augmentation(augment, data), train=config)
    return input_pipeline.epoch_batches(dataclasses.replace(data, class_weights=weights), run)


def _train_config(model: keras.Model, settings: dict) -> TrainConfig:
    """The settings, on top of the backbone's own learning rate."""
    known = BACKBONES.get(model.name)
    return from_dict(TrainConfig, {**({"learning_rate": known.learning_rate} if known else {}), **settings})


def _require_unset(settings: dict, names: tuple[str, ...]) -> None:
    given = [name for name in names if settings.get(name) is not None]
    if given:
        raise ConfigError(f"A tf.data.Dataset is trained on as it is; leave out {given[0]}, and do that in the dataset.")


def _num_classes(model: keras.Model) -> int:
    """Of a model of logits; raises ConfigError where it is none."""
    if not isinstance(model, keras.Sequential) and not getattr(model, "_is_graph_network", False):
        raise ConfigError(f"Model '{model.name}' has no shapes of its own; make it keras.Model(inputs, model.call(inputs)).")
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax:
        raise ConfigError(f"Model '{model.name}' ends in a softmax; leave it out: logits are trained on and deployed.")
    return model.output_shape[-1]


def _part(model: keras.Model, data) -> Part:
    part = arrays.part(data, _num_classes(model))
    _require_shape(model, part.features.shape)
    return part


def _require_shape(model: keras.Model, shape) -> None:
    if len(shape) != 3 or shape[0] == 0 or tuple(shape[1:]) != tuple(model.input_shape[1:]):
        wanted = ", ".join(map(str, ("n", *model.input_shape[1:])))
        raise ConfigError(f"Model '{model.name}' takes clips ({wanted}), n >= 1, not {tuple(shape)}.")


class _Silent:
    """Progress that nobody is told."""

    def start(self, done: int, total: int, steps: int) -> None:
        self.total = total

    def step(self) -> None:
        pass

    def epoch(self, row: dict) -> None:
        pass


class _Printed(_Silent):
    """Progress as a line for each epoch."""

    def epoch(self, row: dict) -> None:
        scores = "  ".join(f"{name} {row[name]:.4f}" for name in ("loss", "val_loss", "val_UA") if name in row)
        print(f"epoch {row['epoch']}/{self.total}  {scores}", flush=True)


# --- From Keras to .tflite --------------------------------------------------------------------------------------------


def fold(model: keras.Model) -> keras.Model:
    """A new model with a plain Dense of the same name for every `HRFDense`: the same function, the size of the network
    without HRF. The fold is done in float64 and rounded once; `model` is left as it was.

    Raises:
      FoldError: a layer is out of reach.

    Example:
      >>> folded = kser.fold(model)
      >>> model.count_params() > folded.count_params()
      True
      >>> float(np.abs(model(test.features) - folded(test.features)).max()) < 1e-5
      True
    """
    return fold_model(model)


def rewrite(model: keras.Model, clips=None, passes: tuple[str, ...] = tuple(DEPLOY_PASSES)) -> keras.Model:
    """A new model that computes the same in fewer and cheaper operations for a microcontroller: batch norms and the scales
    of norms go into the layers after them, projections that read the same are joined, and so on.

    Args:
      model: a flat Functional model, folded.
      clips: (n, num_frames, num_mels) to compare the logits on, pass by pass; None: some drawn from a normal distribution.
      passes: names of the passes to make, of batch_norm, constants, norm_affine, centre, fuse and flatten.

    Raises:
      FoldError: a pass changed a logit by more than rounding does, or the model is no flat graph.
      ConfigError: there is no such pass.

    Example:
      >>> small = kser.rewrite(folded, test.features)
      >>> len(small.layers) < len(folded.layers)
      True
    """
    if clips is None:
        shape = CHECKED_CLIPS, *model.input_shape[1:]
        clips = np.random.default_rng(0).standard_normal(shape, np.float32)
    return deploy_model(model, _some_clips(model, clips), passes).model


def _some_clips(model: keras.Model, data) -> np.ndarray:
    clips = arrays.some_clips(data, REPRESENTATIVE_CLIPS)
    _require_shape(model, clips.shape)
    return clips


def to_tflite(model: keras.Model, representative=None, dtype: str = "int8") -> bytes:
    """The model as a .tflite of one clip a call, input and output of the same type as all within.

    Args:
      model: (batch, num_frames, num_mels) to (batch, num_classes); HRF that is still in it is folded first, rewrites are not
        made (see `rewrite`).
      representative: clips whose activations tell the ranges of integers: the training part of `load_split`, which also
        puts its label names, log-mel settings and normalization into the file, so that `predict` and boards can hear with
        it; or x, (x, y) or a tf.data.Dataset as in `fit`, of which at most 200 clips are taken. None for float32 alone.
      dtype: "int8"; "int16x8", activations of 16 bits and weights of 8; "float32".

    Raises:
      ConfigError: another dtype, no clips, or clips of another shape.
      FoldError: HRF is out of the fold's reach.
      KserError: TensorFlow Lite cannot express the model in these numbers.

    Example:
      >>> model_bytes = kser.to_tflite(small, train, dtype="int8")
      >>> model_bytes[4:8], type(kser.to_tflite(small, x, dtype="float32"))
      (b'TFL3', <class 'bytes'>)
    """
    if dtype not in DTYPES:
        raise ConfigError(f"There is no dtype '{dtype}'; known: {', '.join(DTYPES)}.")
    if representative is None and dtype != "float32":
        raise ConfigError(f"{dtype} needs representative clips, as the training part of load_split has them.")
    clips = None if representative is None else _some_clips(model, representative)
    model_bytes = post_training.to_tflite(model, clips, dtype)
    config = getattr(representative, "config", None)
    return model_file.add_metadata(model_bytes, _metadata(representative, dtype)) if config else model_bytes


def _metadata(data: TrainingData, dtype: str) -> dict:
    """What a board and `predict` need to know of a model, and where it came from."""
    return {
        "kser": __version__,
        "labels": list(data.label_names),
        "features": to_dict(data.config.features),
        "normalization": data.normalization.to_dict(),
        "smoothing": to_dict(SmoothingConfig()),
        "dtype": dtype,
        "corpus": data.config.data.dataset,
        "protocol": data.config.data.protocol,
        "split": data.config.data.split,
    }


# --- What a model is worth --------------------------------------------------------------------------------------------


def evaluate(model: keras.Model | bytes | str, data, interpreter: str = "tflm") -> Evaluation:
    """Scores of a model, in any of its forms, on clips that it was not trained on.

    Args:
      model: a Keras model of logits, or a .tflite, its bytes or its path, which is run in a process of its own.
      data: the test part of `load_split`; or (x, y) or (x, y, speakers), normalized log-mel (n, num_frames, num_mels),
        label indices (n,), names (n,); or a tf.data.Dataset of batches (x, y).
      interpreter: what runs a .tflite, "tflm" or "tflite", TensorFlow Lite Micro or that of desktops.

    Returns:
      `UA`, the unweighted average recall, `WA`, the accuracy; `scores` with F1, recall and precision by class and the
      confusion matrix; `intervals`, (low, high) of 95 % confidence by bootstrap over speakers, where these are known. Its
      `str()` is a line.

    Raises:
      ConfigError: data of another form, or labels that the model does not have.
      ModelFileError: a .tflite that is damaged, or takes other clips.

    Example:
      >>> found = kser.evaluate(model_bytes, test)
      >>> 0 <= found.UA <= 1, found.scores.confusion.sum(), found.num_speakers
      (True, 6, 1)
      >>> kser.evaluate(model, (x, y)).scores.recall.shape
      (3,)
    """
    if isinstance(model, keras.Model):
        part = _part(model, data)
        logits = predict_logits(model, part.features)
    else:
        with Sandbox() as sandbox:
            runner = SandboxedRunner(interpreter, _source(model), sandbox)
            part = arrays.part(data, runner.tensors()[1].shape[-1])
            logits = runner.logits(part.features)
    return evaluate_predictions(Predictions.from_logits(part, logits), part.decision)


def predict(model: keras.Model | bytes | str, clips, interpreter: str = "tflm") -> Prediction | np.ndarray:
    """What a model says of a recording, or of clips of log-mel.

    Args:
      model: a .tflite with kser's metadata, its bytes or its path; for log-mel also one without, or a Keras model of logits.
      clips: the path of a WAV or FLAC file, or a recording (num_samples,) of floats in [-1, 1] at 16 kHz, heard through the
        front end of a board, bit for bit; or normalized log-mel (n, num_frames, num_mels).
      interpreter: what runs a .tflite, "tflm" or "tflite".

    Returns:
      Of a recording `label` and `probabilities` (num_classes,); of log-mel the probabilities (n, num_classes) float32.

    Raises:
      AudioError: the recording cannot be used.
      ModelFileError: a .tflite that is damaged, lacks kser's metadata, or takes other clips.
      ConfigError: clips of another form; a recording for a Keras model, which does not say how it hears.

    Example:
      >>> prediction = kser.predict(model_bytes, corpus.utterances[0].path)
      >>> prediction.label in corpus.labels, prediction.probabilities.shape
      (True, (3,))
      >>> round(float(kser.predict(model_bytes, waveforms[0]).probabilities.sum()), 3)
      1.0
      >>> kser.predict(small, test.features).shape
      (6, 3)
    """
    if isinstance(clips, (str, os.PathLike)) or np.ndim(clips) == 1:
        return _predict_recording(model, clips, interpreter)
    features = np.asarray(clips, np.float32)
    if isinstance(model, keras.Model):
        _require_shape(model, features.shape)
        return softmax(predict_logits(model, features))
    with Sandbox() as sandbox:
        return softmax(SandboxedRunner(interpreter, _source(model), sandbox).logits(features))


def _predict_recording(model, recording, interpreter: str) -> Prediction:
    if isinstance(model, keras.Model):
        raise ConfigError("A Keras model does not say how it hears; make it a .tflite with to_tflite(model, train) first.")
    with Predictor(_source(model), interpreter) as predictor:
        if isinstance(recording, (str, os.PathLike)):
            return predictor.predict(os.fspath(recording))
        return predictor.predict_samples(arrays.samples_of(recording, "The recording", predictor.config))


def _source(model) -> str | bytes:
    if isinstance(model, (bytes, bytearray)):
        return bytes(model)
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    raise ConfigError(f"A model must be a Keras model, a .tflite's bytes or its path, not {type(model).__name__}.")


def check_board(model: bytes | str, board: str, decision_ms: float = doctor.DEFAULT_DECISION_MS) -> Diagnosis:
    """Whether a .tflite runs on a board, what it takes of its memory and time, and how to mend what is wrong.

    Args:
      model: the .tflite, its bytes or its path; any, with kser's metadata or without.
      board: nano33ble, portenta_h7, nicla_vision, nicla_sense, rp2040, teensy41, esp32, esp32s3, esp32c3, generic_m4 or
        generic_m55.
      decision_ms: milliseconds between two decisions.

    Returns:
      `verdict`: "fits", "tight" or "does not run"; `problems`, the worst first, each with its `severity`, `what`, `where`
      and `fix`; `figures`: bytes of the tensor arena, of RAM and flash, milliseconds of an inference. Its `str()` tells all.

    Raises:
      ConfigError: there is no such board, or `decision_ms` is not positive.
      ModelFileError: no TensorFlow Lite model, or a damaged one.

    Example:
      >>> verdict = kser.check_board(model_bytes, "nano33ble")
      >>> verdict.verdict, verdict.figures.arena_bytes < 256 << 10
      ('fits', True)
      >>> print(str(verdict).splitlines()[0])
      Arduino Nano 33 BLE (Sense): fits
    """
    source = _source(model)
    in_memory = isinstance(source, bytes)
    content = source if in_memory else model_file.read_model_file(source)
    return doctor.examine(content, [board], decision_ms, "The model" if in_memory else source)[0]
