"""The generated files committed in deploy/ are what is generated today, but for numbers that training decides."""

from __future__ import annotations

import re

import pytest

from kser.boards import doctor
from kser.boards.catalog import find_board
from kser.config import FeatureConfig
from kser.firmware import project
from tests.micro import small_model

EXAMPLES = {"nano33ble": project.DEPLOY / "arduino" / "example", "esp32s3": project.DEPLOY / "esp32" / "example"}
MODEL_BYTES = "kser_model.cpp"
# Of the weights, or of the corpus' mean and deviation. The arena, for nodes of equal scales share a table.
TRAINED = {
    *("kMelGain", "kMelCentre", "kInputScale", "kInputZeroPoint", "kOutputScale", "kOutputZeroPoint", "kMetadataHash"),
    *("kGoldenInput", "kGoldenLogits", "kArenaBytes"),
}

SIZES = ("kNumFrames", "kNumMels", "kNumClasses")


def untrained(text: str) -> str:
    """The text without the values of TRAINED, and without the size of the model's file."""
    text = re.sub(rf"\b({'|'.join(TRAINED)})\b((?:\[[^\]]*\])?) = [^;]*;", r"\1\2;", text)
    return re.sub(r"model of \d+ bytes", "model", text)


@pytest.mark.parametrize("board", EXAMPLES)
def test_the_example_is_what_is_generated(board):
    model_bytes = small_model.model_bytes(FeatureConfig())
    figures = doctor.examine(model_bytes, [board])[0].figures
    generated = project.model_sources(model_bytes, find_board(board), figures)
    folder = EXAMPLES[board]
    committed = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.h")}
    assert set(committed) == set(generated) - {MODEL_BYTES}
    assert {name: untrained(text) for name, text in committed.items()} == {
        name: untrained(generated[name]) for name in committed
    }


def test_golden_vectors_of_the_example_have_the_models_size():
    for folder in EXAMPLES.values():
        settings, golden = ((folder / name).read_text() for name in ("kser_settings.h", "kser_golden.h"))
        frames, mels, classes = (int(re.search(rf"{name} = (\d+);", settings)[1]) for name in SIZES)
        sizes = [len(values.split(",")) for values in re.findall(r"= {([^}]*)}", golden)]
        assert sizes == [frames * mels, classes]
