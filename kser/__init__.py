"""kser: speech-emotion recognition from Keras training to TensorFlow Lite Micro.

From a corpus to the verdict for a board (here with a folder `clips/LABEL/SPEAKER/*.wav`; `load_corpus("ravdess", ...)` and
the like read published corpora):

    import kser

    corpus = kser.load_corpus("folder", "clips")
    train, validation, test = kser.load_split(corpus, 1)
    model = kser.create_model("conformer_micro", num_classes=len(corpus.labels), hrf=4)
    kser.fit(model, train, validation, epochs=3)
    small = kser.rewrite(kser.fold(model))
    model_bytes = kser.to_tflite(small, train, dtype="int8")
    print(kser.evaluate(model_bytes, test))
    print(kser.predict(model_bytes, corpus.utterances[0].path))
    print(kser.check_board(model_bytes, "nano33ble"))

The same with your own arrays, normalized log-mel (n, num_frames, num_mels) and label indices (n,), or with a
`tf.data.Dataset` of batches of them:

    import numpy as np
    import kser

    x, y = np.random.default_rng(0).normal(size=(24, 247, 40)), np.arange(24) % 3
    model = kser.create_model("conformer_micro", num_classes=3, hrf=4)
    kser.fit(model, (x[:18], y[:18]), epochs=3)  # or kser.fit(model, dataset, epochs=3)
    model_bytes = kser.to_tflite(kser.rewrite(kser.fold(model)), x[:18], dtype="int8")
    print(kser.TFLMInterpreter(model_bytes).logits(x[18:].astype("float32")).argmax(1))
    print(kser.evaluate(model_bytes, (x[18:], y[18:])))
    print(kser.check_board(model_bytes, "nano33ble"))

`load_waveforms` makes training, validation and test parts from recordings in memory. Only the log-mel cache is written to
disk; for runs that can be resumed, compared and deployed use the commands.

Importing the package loads nothing else. It sets environment variables that TensorFlow reads only once, on import: the log
level, no oneDNN, and Keras 2 (`tf_keras`), the only Keras that tensorflow-model-optimization supports.
"""

import importlib
import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kser.api import (
        check_board,
        create_model,
        evaluate,
        fit,
        fold,
        load_split,
        load_waveforms,
        predict,
        rewrite,
        to_tflite,
    )
    from kser.config import FeatureConfig, SmoothingConfig
    from kser.datasets import load_corpus
    from kser.errors import KserError
    from kser.models.hrf import HRFDense
    from kser.tflite.interpreter import TFLMRunner as TFLMInterpreter

if "tensorflow" in sys.modules and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0":
    warnings.warn(
        "kser was imported after tensorflow, too late for its settings: results may not repeat, and oneDNN's depthwise "
        "convolution aborts on some processors; import kser first.",
        stacklevel=2,
    )
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# oneDNN reorders float sums when the thread count changes; kser's results must be reproducible.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

__version__ = "0.2.0"

# In the order of docs/api.md.
__all__ = [
    "load_corpus",
    "load_split",
    "load_waveforms",
    "FeatureConfig",
    "create_model",
    "HRFDense",
    "fit",
    "fold",
    "rewrite",
    "SmoothingConfig",
    "to_tflite",
    "TFLMInterpreter",
    "evaluate",
    "predict",
    "check_board",
    "KserError",
]

# Public names that are not defined in kser.api: the module and the name there.
_ELSEWHERE = {
    "load_corpus": ("kser.datasets", "load_corpus"),
    "FeatureConfig": ("kser.config", "FeatureConfig"),
    "HRFDense": ("kser.models.hrf", "HRFDense"),
    "SmoothingConfig": ("kser.config", "SmoothingConfig"),
    "TFLMInterpreter": ("kser.tflite.interpreter", "TFLMRunner"),
    "KserError": ("kser.errors", "KserError"),
}


def __getattr__(name: str):
    """A public name; its module is loaded on first access."""
    if name not in __all__:
        raise AttributeError(f"module 'kser' has no attribute {name!r}")
    module, attribute = _ELSEWHERE.get(name, ("kser.api", name))
    value = globals()[name] = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
