"""kser: speech-emotion recognition from Keras training to TensorFlow Lite Micro.

Importing the package fixes the environment settings TensorFlow reads only once, before TensorFlow is imported: its log
level, no oneDNN, and Keras 2 (`tf_keras`), the only Keras tensorflow-model-optimization works with.
"""

import os
import sys
import warnings

if "tensorflow" in sys.modules and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0":
    warnings.warn(
        "kser was imported after tensorflow, too late for its settings: results may not repeat, and oneDNN's depthwise "
        "convolution aborts on some processors; import kser first.",
        stacklevel=2,
    )
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# oneDNN reorders float sums between runs of different thread counts; results here are meant to be repeated.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

__version__ = "0.1.0"
