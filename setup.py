"""Packaging of kser: what it needs, and why; `requirements.lock` pins the versions that are known to work together."""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit("kser needs Python 3.10, 3.11 or 3.12; this is Python " + ".".join(map(str, sys.version_info[:2])) + ".")

ROOT = Path(__file__).parent

COMMANDS = (
    "prepare",
    "preview",
    "train",
    "fold_and_convert",
    "evaluate",
    "predict",
    "doctor",
    "search",
    "deploy",
    "board",
    "demo",
)

INSTALL_REQUIRES = [
    # Training and conversion; the last release that works with tensorflow-io's native ops.
    "tensorflow~=2.16.2",
    # Keras 2, the only Keras that tensorflow-model-optimization supports; same version as TensorFlow.
    "tf_keras~=2.16.0",
    # Quantization-aware training.
    "tensorflow-model-optimization~=0.8.0",
    # SpecAugment's masks as graph ops.
    "tensorflow-io~=0.37.1",
    # The TensorFlow Lite Micro interpreter. There are only pre-releases, whose behaviour may differ.
    "tflite-micro==0.dev20261023182759",
    # The reference of the feature front end; TensorFlow 2.16 is built for NumPy 1.
    "numpy~=1.26.4",
    # Writes the metadata into a .tflite file, which is a flatbuffer.
    "flatbuffers>=23.5.26",
    # Writes the weights file in memory; Keras 2 can only write it to disk.
    "h5py>=3.10,<4",
    # Reads WAV and FLAC; its wheel brings libsndfile.
    "soundfile>=0.12,<1",
    # Band-limited resampling; the wheel has no further dependencies.
    "soxr>=0.5,<2",
    # Student's t, of the confidence intervals; the filters that find the voice in a recording.
    "scipy>=1.13,<2",
    # The serial port to a board, on every operating system.
    "pyserial~=3.5",
    # Plots of results.
    "matplotlib>=3.8,<4",
    # Command-line flags; tensorflow-model-optimization asks for 1.x from 1.2.
    "absl-py~=1.2",
    # Tables and progress bars in the terminal.
    "rich>=13,<16",
    # TensorBoard imports pkg_resources, removed in setuptools 82; tensorflow-model-optimization imports distutils.
    "setuptools>=64,<81",
]

EXTRAS_REQUIRE = {
    "beam": [
        # Scans corpora that are too large for one machine.
        "apache-beam>=2.77,<3",
    ],
    "dev": [
        # Tests of the extra beam.
        "apache-beam>=2.77,<3",
        # Runs the tests.
        "pytest>=8,<10",
        # Runs two tests at a time.
        "pytest-xdist>=3.6,<4",
        # Reference for scores in tests.
        "scikit-learn>=1.5,<2",
        # Linter; every minor version has new rules.
        "ruff~=0.17.6",
        # Headers and a library of TensorFlow Lite Micro; tests link the firmware with them.
        "xmos-ai-tools~=1.4.2",
    ],
    "benchmarks": [
        # Reference of benchmarks/features.py.
        "librosa>=0.10,<1",
    ],
}


CLASSIFIERS = [
    "Development Status :: 4 - Beta",
    "Intended Audience :: Developers",
    "Intended Audience :: Science/Research",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: C++",
    "Programming Language :: Python :: 3 :: Only",
    "Programming Language :: Python :: 3.10",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Topic :: Multimedia :: Sound/Audio :: Speech",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Topic :: Software Development :: Embedded Systems",
    "Typing :: Typed",
]


def read_version():
    """The version in kser/__init__.py, read as text: importing kser is not possible before it is installed."""
    text = (ROOT / "kser" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


setup(
    name="kser",
    version=read_version(),
    description="Lightweight speech-emotion Transformers, from Keras training to TensorFlow Lite Micro",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["speech emotion recognition", "TinyML", "TensorFlow Lite Micro", "microcontroller", "Keras", "quantization"],
    project_urls={"Paper on HRF": "https://arxiv.org/abs/2411.09339"},
    classifiers=CLASSIFIERS,
    python_requires=">=3.10,<3.13",
    # The firmware lies at the top, where its users look for it; in a wheel it is part of the package.
    packages=[*find_packages(include=["kser", "kser.*"]), "kser.deploy"],
    package_dir={"kser.deploy": "deploy"},
    package_data={"kser": ["py.typed"], "kser.datasets": ["checksums.npz"], "kser.deploy": ["**/*"]},
    exclude_package_data={"": ["BUILD"], "kser.deploy": ["**/BUILD"]},
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={
        "console_scripts": [f"kser-{name.replace('_', '-')}=kser.cli.{name}:run" for name in COMMANDS],
    },
)
