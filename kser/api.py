"""The functions of `import kser`: from a corpus or arrays to a model on a board. The commands use them too."""

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
# Random clips on which a network is compared with its rewritten form.
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

    A split that leaks is refused: training and test part must not share a recording, nor a speaker unless the protocol
    shares speakers by definition.

    Args:
      corpus: the result of `load_corpus`.
      number: which split of the protocol, from 1.
      protocol: how the corpus is split; empty: the corpus' standard protocol.
      features: settings of the log-mel; None: `FeatureConfig()`.
      augment: augmentation of the training clips, NAME:STRENGTH separated by commas, or "none"; `bin/train --help` lists
        the names.
      select: "validation" holds out some speakers of the training part as validation part, to choose the best epoch;
        "last" trains on them too, and the validation part is None.
      validation_speakers: number of validation speakers; 0: 15 % of the speakers of the training part.
      seed: random seed of the validation speakers and of the augmented sounds.
      cache_dir: directory of the log-mel cache; empty: `$KSER_CACHE_DIR` or the user's cache directory.

    Returns:
      train: what `fit` takes, with the label names, settings and normalization that `to_tflite` puts into the model.
      validation, test: `features` (n, num_frames, num_mels) normalized log-mel, `labels` (n,) indices into
        `corpus.labels`, `speakers` (n,) names.

    Raises:
      DatasetError: there is no such split, an audio file cannot be used, or the test part leaks into training.
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
    """Like `load_split`, for recordings in memory that you have split yourself; mean and deviation for the normalization
    are those of the training part. Speakers that occur in several parts are not detected.

    Args:
      train, test, validation: (waveforms, y) or (waveforms, y, speakers): n arrays (num_samples,) of floats in [-1, 1] at
        16 kHz, label indices (n,), and speaker names (n,), which are used for confidence intervals only.
      labels: names of the labels, in the order of their indices.
      features: settings of the log-mel; None: `FeatureConfig()`.
      augment: as in `load_split`, without the waveform augmentations; None: the default without them.

    Returns:
      As `load_split`.

    Raises:
      ConfigError: arrays of wrong shape or type, or labels out of range.
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
        raise ConfigError(
            f"augment={augment!r}: {chosen.steps('sound')[0][0]} is not possible for recordings in memory; leave it out."
        )
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
    """An untrained network, by name of backbone and size.

    Args:
      name: BACKBONE_SIZE: conformer, convtransformer or speechformer; micro (at most 60 k parameters), light (250 k) or
        large.
      num_classes: number of classes, the length of the output.
      hrf: inner width of HRF in the feed-forward networks, in multiples of a layer's input width; 0: no HRF.
      features: settings of the log-mel, which determine the input's shape; None: `FeatureConfig()`.
      seed: random seed of the initial weights and of dropout.
      settings: single sizes that replace those of the preset, as `hidden_dim=48`; `bin/train --help` lists them.

    Returns:
      A flat Functional model from normalized log-mel (batch, num_frames, num_mels) to logits (batch, num_classes).

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
    kernels (with HRF: of the product of the factors), label smoothing, augmentation, averaged weights.

    Args:
      model: (batch, num_frames, num_mels) to (batch, num_classes) logits, no softmax: one of `create_model`, or your own.
      train: the training part of `load_split` or `load_waveforms`; or (x, y), log-mel (n, num_frames, num_mels) normalized
        by you and label indices (n,) or one-hot rows (n, num_classes); or a tf.data.Dataset of batches of these, one epoch
        long, shuffled and augmented by you.
      validation: as `train`; the epoch with the highest UA on it is kept. None: the last epoch is kept.
      augment: augmentation of the training clips, as in `load_split`; None: the one the part was loaded with, and for
        (x, y) the default SpecAugment and mixup. Not for a Dataset.
      verbose: print the scores of each epoch.
      settings: `epochs`, `batch_size`, `learning_rate`, `warmup_share`, `weight_decay`, `hrf_balance`, `hrf_decay`,
        `label_smoothing`, `class_weight_power`, `seed`; meaning and defaults are those of `bin/train --help`.

    Returns:
      One row per epoch: epoch, loss, learning_rate and, with a validation part, val_loss and val_UA.

    Raises:
      ConfigError: a setting is unknown or out of range, or the data does not fit the model.
      DivergenceError: a loss is not finite, or stays far above chance; the model has the best epoch's weights then.

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
    """The training settings, with the backbone's own learning rate as default."""
    known = BACKBONES.get(model.name)
    return from_dict(TrainConfig, {**({"learning_rate": known.learning_rate} if known else {}), **settings})


def _require_unset(settings: dict, names: tuple[str, ...]) -> None:
    given = [name for name in names if settings.get(name) is not None]
    if given:
        raise ConfigError(f"A tf.data.Dataset is used unchanged; leave out {given[0]} and apply it in the dataset.")


def _num_classes(model: keras.Model) -> int:
    """The number of classes of a model with logits as output; raises ConfigError for other models."""
    if not isinstance(model, keras.Sequential) and not getattr(model, "_is_graph_network", False):
        raise ConfigError(f"Model '{model.name}' has no known shapes; make it keras.Model(inputs, model.call(inputs)).")
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax:
        raise ConfigError(f"Model '{model.name}' ends in a softmax; remove it: kser trains on logits.")
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
    """Progress that is not shown."""

    def start(self, done: int, total: int, steps: int) -> None:
        self.total = total

    def step(self) -> None:
        pass

    def epoch(self, row: dict) -> None:
        pass


class _Printed(_Silent):
    """Progress as one printed line per epoch."""

    def epoch(self, row: dict) -> None:
        scores = "  ".join(f"{name} {row[name]:.4f}" for name in ("loss", "val_loss", "val_UA") if name in row)
        print(f"epoch {row['epoch']}/{self.total}  {scores}", flush=True)


# --- From Keras to .tflite --------------------------------------------------------------------------------------------


def fold(model: keras.Model) -> keras.Model:
    """A new model with a plain Dense of the same name for every `HRFDense`: the same function, with as many parameters as
    the network without HRF. The product is computed in float64 and rounded once; `model` is not changed.

    Raises:
      FoldError: an HRFDense stands where Keras cannot replace it, as in a subclassed model.

    Example:
      >>> folded = kser.fold(model)
      >>> model.count_params() > folded.count_params()
      True
      >>> float(np.abs(model(test.features) - folded(test.features)).max()) < 1e-5
      True
    """
    return fold_model(model)


def rewrite(model: keras.Model, clips=None, passes: tuple[str, ...] = tuple(DEPLOY_PASSES)) -> keras.Model:
    """A new model that computes the same function in fewer operations, for a microcontroller: it merges batch norms and the
    scales of norms into neighbouring layers, joins projections of the same input, and so on.

    Args:
      model: a flat Functional model, folded.
      clips: (n, num_frames, num_mels) on which the logits are compared after every pass; None: random normal clips.
      passes: names of the passes to apply: batch_norm, constants, norm_affine, centre, fuse, flatten.

    Raises:
      FoldError: a pass changed a logit by more than float32 rounding, or the model is not a flat graph.
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


def to_tflite(
    model: keras.Model, representative=None, dtype: str = "int8", smoothing: SmoothingConfig | None = None
) -> bytes:
    """The model as a .tflite for one clip per call; input and output have the type `dtype` too.

    Args:
      model: (batch, num_frames, num_mels) to (batch, num_classes). HRF is folded first if it is still there; call `rewrite`
        before for a cheaper graph.
      representative: clips on which the activation ranges are measured: the training part of `load_split`, whose label
        names, log-mel settings and normalization go into the file too, so that `predict` and boards can take audio; or x,
        (x, y) or a tf.data.Dataset as in `fit`, of which at most 200 clips are used. None only for float32.
      dtype: "int8"; "int16x8", activations of 16 bits and weights of 8; "float32".
      smoothing: how a board decides; None: the default `SmoothingConfig`. It goes into the file with the label names.

    Raises:
      ConfigError: an unknown dtype, no clips, or clips of a wrong shape.
      FoldError: an HRFDense stands where it cannot be folded.
      KserError: TensorFlow Lite cannot express the model in this dtype.

    Example:
      >>> model_bytes = kser.to_tflite(small, train, dtype="int8")
      >>> model_bytes[4:8], type(kser.to_tflite(small, x, dtype="float32"))
      (b'TFL3', <class 'bytes'>)
    """
    if dtype not in DTYPES:
        raise ConfigError(f"There is no dtype '{dtype}'; known: {', '.join(DTYPES)}.")
    if representative is None and dtype != "float32":
        raise ConfigError(f"{dtype} needs representative clips, such as the training part of load_split.")
    clips = None if representative is None else _some_clips(model, representative)
    model_bytes = post_training.to_tflite(model, clips, dtype)
    config = getattr(representative, "config", None)
    return model_file.add_metadata(model_bytes, _metadata(representative, dtype, smoothing)) if config else model_bytes


def _metadata(data: TrainingData, dtype: str, smoothing: SmoothingConfig | None) -> dict:
    """Metadata of a model: what a board and `predict` need, and its origin."""
    return {
        "kser": __version__,
        "labels": list(data.label_names),
        "features": to_dict(data.config.features),
        "normalization": data.normalization.to_dict(),
        "smoothing": to_dict(smoothing or SmoothingConfig()),
        "dtype": dtype,
        "corpus": data.config.data.dataset,
        "protocol": data.config.data.protocol,
        "split": data.config.data.split,
    }


# --- Scores and predictions -------------------------------------------------------------------------------------------


def evaluate(model: keras.Model | bytes | str, data, interpreter: str = "tflm") -> Evaluation:
    """Scores of a Keras or .tflite model on clips that it was not trained on.

    Args:
      model: a Keras model with logits as output, or a .tflite (bytes or path), which runs in a child process.
      data: the test part of `load_split`; or (x, y) or (x, y, speakers), normalized log-mel (n, num_frames, num_mels),
        label indices (n,), names (n,); or a tf.data.Dataset of batches (x, y).
      interpreter: what runs a .tflite: "tflm" (TensorFlow Lite Micro) or "tflite" (LiteRT).

    Returns:
      `UA`, the unweighted average recall; `WA`, the accuracy; `scores` with F1, recall and precision per class and the
      confusion matrix; `intervals`, the 95 % confidence intervals (low, high) by the jackknife over speakers, if several are
      known. `str()` gives one line.

    Raises:
      ConfigError: data of wrong shape or type, or labels that the model does not have.
      ModelFileError: the .tflite is damaged, or takes clips of another shape.

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
    """The prediction of a model for a recording, or for clips of log-mel.

    Args:
      model: a .tflite with kser's metadata (bytes or path); for log-mel also one without, or a Keras model of logits.
      clips: the path of an audio file, or a recording (num_samples,) of floats in [-1, 1] at 16 kHz, whose features
        are computed bit for bit as on a board, of one clip from the middle of its active part; or normalized log-mel (n,
        num_frames, num_mels).
      interpreter: what runs a .tflite: "tflm" or "tflite".

    Returns:
      For a recording, `label` and `probabilities` (num_classes,); for log-mel, probabilities (n, num_classes) float32.

    Raises:
      AudioError: the recording cannot be used.
      ModelFileError: the .tflite is damaged, lacks kser's metadata, or takes clips of another shape.
      ConfigError: clips of wrong shape or type; a recording for a Keras model, which has no log-mel settings.

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
        raise ConfigError(
            "A Keras model has no log-mel settings; convert it with to_tflite(model, train) to predict recordings."
        )
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


def check_board(model: bytes | str, board: str, decision_ms: float | None = None) -> Diagnosis:
    """Whether a .tflite runs on a board, how much memory and time it takes, and how to fix each problem.

    Args:
      model: any .tflite (bytes or path), with kser's metadata or without.
      board: nano33ble, xiao_nrf52840, portenta_h7, nicla_vision, nicla_sense, rp2040, pico2, teensy41, esp32, esp32s3,
        esp32c3, generic_m4 or generic_m55.
      decision_ms: milliseconds between two decisions; None: those of the model's metadata, or 500.

    Returns:
      `verdict`: "fits", "tight" or "does not run"; `problems`, the worst first, each with its `severity`, `what`, `where`
      and `fix`; `figures`: bytes of tensor arena, RAM and flash, milliseconds per inference. `str()` gives all as text.

    Raises:
      ConfigError: there is no such board, or `decision_ms` is not positive.
      ModelFileError: not a TensorFlow Lite model, or a damaged one.

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
