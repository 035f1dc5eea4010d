"""Generated C++ holds what the metadata, the front end and the model say, and unfit models are refused in a sentence."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from kser.audio.device_log_mel import mel_segments
from kser.audio.log_mel import analysis_window, feature_code, log_mel_numpy, mel_matrix
from kser.config import FeatureConfig, SmoothingConfig, to_dict
from kser.errors import ConfigError, ModelFileError
from kser.firmware import codegen
from kser.tflite import model_file
from tests.micro import sources, toolchain

CONFIG = FeatureConfig(clip_seconds=0.6, num_mels=20)
CONFIGS = [
    FeatureConfig(),
    CONFIG,
    FeatureConfig(window_ms=25, num_mels=24, lower_hz=0, upper_hz=8000),
    FeatureConfig(window_ms=64, num_mels=80, lower_hz=62.5, upper_hz=4000, remove_level=False),
]


@pytest.fixture(scope="module")
def settings():
    return codegen.settings_source(sources.metadata(CONFIG), sources.description(CONFIG))


def constant(text, name):
    return re.search(rf"constexpr [\w:]+ {name} = ([^;]+);", text)[1]


def number(text, name):
    return float(constant(text, name).rstrip("f"))


def array(text, name):
    body = re.search(rf"{name}\[[^\]]+\] = {{([^}}]+)}};", text)[1]
    return np.array([float(item.strip().rstrip("f")) for item in body.split(",")])


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_constants_are_the_configurations(settings):
    for name, value in {
        "kSampleRateHz": 16000,
        "kWindowSamples": CONFIG.window_samples,
        "kHopSamples": CONFIG.hop_samples,
        "kFftLength": CONFIG.fft_length,
        "kNumMels": CONFIG.num_mels,
        "kNumFrames": CONFIG.num_frames,
        "kNumClasses": len(sources.LABELS),
        "kInputZeroPoint": -19,
        "kOutputZeroPoint": -42,
    }.items():
        assert number(settings, name) == value, name
    assert f"#define KSER_COMPLEX_FFT_LENGTH {CONFIG.fft_length // 2}" in settings


def test_floats_come_back_as_they_were(settings):
    description = sources.description(CONFIG)
    assert np.float32(number(settings, "kInputScale")) == np.float32(description.inputs[0].scale)
    assert np.float32(number(settings, "kOutputScale")) == np.float32(description.outputs[0].scale)
    assert np.float32(number(settings, "kLogFloor")) == np.float32(CONFIG.log_floor)
    window = np.float32(analysis_window(CONFIG) / 65536)
    np.testing.assert_array_equal(np.float32(array(settings, "kWindow")), window)


@pytest.mark.parametrize("config", CONFIGS)
def test_mel_segments_are_the_mel_matrix(config):
    segments = mel_segments(config)
    dense = np.zeros_like(mel_matrix(config))
    position = 0
    for segment in range(config.num_mels + 1):
        for k in range(segments.first_bin[segment], segments.first_bin[segment + 1]):
            if segment < config.num_mels:
                dense[k, segment] += segments.rise[position]
            if segment > 0:
                dense[k, segment - 1] += 1 - segments.rise[position]
            position += 1
    assert position == len(segments.rise)
    np.testing.assert_allclose(dense, mel_matrix(config), atol=1e-12)


def test_twiddles_are_roots_of_one(settings):
    twiddles = array(settings, "kTwiddles").reshape(-1, 2)
    k = np.arange(CONFIG.fft_length // 2)
    expected = np.exp(-2j * np.pi * k / CONFIG.fft_length)
    np.testing.assert_allclose(twiddles[:, 0] + 1j * twiddles[:, 1], expected, atol=1e-7)


@pytest.mark.parametrize("remove_level", [True, False])
def test_codes_quantize_as_the_normalization(remove_level):
    config = dataclasses.replace(CONFIG, remove_level=remove_level)
    text = codegen.settings_source(sources.metadata(config), sources.description(config))
    offset, step = (number(text, name) for name in ("kCodeOffset", "kCodeStep"))
    rng = np.random.default_rng(0)
    log_mel = rng.uniform(-8, 5, (config.num_frames, config.num_mels))
    codes = np.rint((log_mel - offset) / step)
    level = codes.mean() if remove_level else 0
    steps = (codes - level - array(text, "kMelCentre")) * array(text, "kMelGain")
    normalized = sources.normalization(config).apply(feature_code(config).decode(codes))
    tensor = sources.input_tensor(config)
    # Both round a few float32 operations on numbers of some 100 steps.
    np.testing.assert_allclose(steps, normalized / np.float32(tensor.scale), atol=1e-3)


def test_metadata_is_known_by_its_hash(settings):
    assert codegen.fnv1a(b"") == 0x811C9DC5 and codegen.fnv1a(b"foobar") == 0xBF9CF968  # from the algorithm's page
    metadata = model_file.encode_metadata(sources.metadata(CONFIG))
    assert int(constant(settings, "kMetadataHash"), 16) == codegen.fnv1a(metadata)
    other = codegen.settings_source({**sources.metadata(CONFIG), "corpus": "x"}, sources.description(CONFIG))
    assert constant(other, "kMetadataHash") != constant(settings, "kMetadataHash")


def test_smoothing_is_the_metadatas_or_the_default(settings):
    assert [number(settings, name) for name in ("kFramesPerDecision", "kAverageDecisions", "kDwellDecisions")] == [50, 3, 2]
    smoothing = SmoothingConfig(decision_ms=250, average_ms=2000, hysteresis=0.3, dwell_ms=600, silence_dbfs=-50)
    text = codegen.settings_source(
        {**sources.metadata(CONFIG), "smoothing": to_dict(smoothing)}, sources.description(CONFIG)
    )
    assert [number(text, name) for name in ("kFramesPerDecision", "kAverageDecisions", "kDwellDecisions")] == [25, 8, 3]
    assert number(text, "kHysteresis") == 0.3 and number(text, "kSilenceDbfs") == -50


def test_labels_are_literals_in_ascii():
    labels = ("neutral", 'sa"d', "fröhlich", "what??/")
    text = codegen.settings_source({**sources.metadata(CONFIG), "labels": labels}, sources.description(CONFIG))
    assert r'"neutral", "sa\042d", "fr\303\266hlich", "what\077\077/"' in text
    assert text.isascii()


def test_wide_features_are_kept_in_16_bits(settings):
    assert "using FeatureCode = std::int8_t;" in settings
    config = dataclasses.replace(CONFIG, log_floor=1e-9)
    assert "std::int16_t;" in codegen.settings_source(sources.metadata(config), sources.description(config))


def other_tensors(**changes):
    description = sources.description(CONFIG)
    return dataclasses.replace(description, inputs=(dataclasses.replace(description.inputs[0], **changes),))


@pytest.mark.parametrize(
    "metadata, description, message",
    [
        ({"labels": None}, sources.description(CONFIG), "damaged kser metadata"),
        ({"features": {"pitch": 1}}, sources.description(CONFIG), "damaged kser metadata"),
        ({"normalization": {"mean": [0], "std": [1]}}, sources.description(CONFIG), "damaged kser metadata"),
        ({"smoothing": {"decision_ms": -1}}, sources.description(CONFIG), "damaged kser metadata"),
        ({"labels": ["a", "b"]}, sources.description(CONFIG), "another model"),
        ({}, other_tensors(shape=(1, 3, 20)), "another model"),
        ({}, other_tensors(dtype="float32"), "convert to int8"),
    ],
)
def test_unfit_models_are_refused(metadata, description, message):
    with pytest.raises(ModelFileError, match=message):
        codegen.settings_source({**sources.metadata(CONFIG), **metadata}, description)


# --- Codes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [*CONFIGS, FeatureConfig(log_floor=1e-12)])
def test_every_log_mel_has_a_code(config):
    code = feature_code(config)
    rng = np.random.default_rng(0)
    time = np.arange(config.window_samples) / 16000
    tones = [np.sign(np.sin(2 * np.pi * hz * time)) for hz in (100, 440, 1000, 3000)]
    loudest = max(
        np.log((np.abs(np.fft.rfft(x * analysis_window(config), config.fft_length)) ** 2) @ mel_matrix(config)).max()
        for x in (np.ones(config.window_samples), rng.choice([-1, 1], config.window_samples), *tones)
    )
    for value in (np.log(config.log_floor), loudest):
        assert abs(np.rint((value - code.offset) / code.step)) <= 2 ** (code.bits - 1) - 2
    values = np.linspace(np.log(config.log_floor), loudest, 1000)
    codes = np.rint((values - code.offset) / code.step)
    assert np.abs(code.decode(codes) - values).max() <= code.step / 2 + 1e-5


# --- Ops --------------------------------------------------------------------------------------------------------------


def of_ops(*ops):
    return dataclasses.replace(sources.description(CONFIG), ops=dict.fromkeys(ops, 1))


def test_only_the_models_ops_are_registered():
    text = codegen.resolver_source(of_ops("CONV_2D", "BATCH_MATMUL", "FULLY_CONNECTED"))
    assert re.findall(r"->(\w+)\(\)", text) == ["AddBatchMatMul", "AddConv2D", "AddFullyConnected"]
    assert number(text.replace("unsigned int", "int"), "kNumOps") == 3


def test_own_ops_are_left_out():
    text = codegen.resolver_source(of_ops("CONV_2D", "BATCH_MATMUL"), own_ops=["BATCH_MATMUL", "SOFTMAX"])
    assert re.findall(r"->(\w+)\(\)", text) == ["AddConv2D"]
    assert "kNumOps = 1;" in codegen.resolver_source(of_ops("SOFTMAX"), own_ops=["SOFTMAX"])


def test_methods_are_those_of_tflm():

    if toolchain.tflm_directory() is None:
        pytest.skip("not installed: xmos-ai-tools, whose TFLM headers name the methods")
    header = toolchain.tflm_directory() / "runtime/include/tensorflow/lite/micro/micro_mutable_op_resolver.h"
    methods = set(re.findall(r"TfLiteStatus (Add\w+)\(", header.read_text()))
    ops = "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED HARD_SWISH L2_NORMALIZATION LOGISTIC"
    ops += " MEAN MUL PAD PADV2 RESHAPE SLICE SOFTMAX SPLIT STRIDED_SLICE SUB SQUARED_DIFFERENCE RSQRT TANH TRANSPOSE"
    assert {codegen.adder(op) for op in ops.split()} <= methods
    assert codegen.adder("BATCH_MATMUL") == "AddBatchMatMul"


# --- Golden vectors ---------------------------------------------------------------------------------------------------


def test_golden_vectors_are_written_as_they_are():
    rng = np.random.default_rng(0)
    values = rng.integers(-128, 128, (CONFIG.num_frames, CONFIG.num_mels)).astype(np.int8)
    text = codegen.golden_source(values, np.int8([-128, 0, 1, 127]))
    np.testing.assert_array_equal(array(text, "kGoldenInput").astype(int), values.ravel())
    np.testing.assert_array_equal(array(text, "kGoldenLogits").astype(int), [-128, 0, 1, 127])


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros(6, np.int8)])
def test_golden_vectors_must_be_int8_of_their_form(values):
    with pytest.raises(ConfigError, match="Golden vectors are int8"):
        codegen.golden_source(values, np.zeros(4, np.int8))


def test_the_golden_clip_exercises_every_band():
    config = FeatureConfig()
    clip = codegen.golden_clip(config)
    assert clip.shape == (config.clip_samples,) and clip.dtype == np.int16
    assert 5000 < np.abs(clip.astype(int)).max() < 32767
    assert log_mel_numpy(clip / 32768, config).std(axis=0).min() > 0.3


# --- Memory and kernels -----------------------------------------------------------------------------------------------


def test_memory_is_constants():
    text = codegen.memory_source(9216, 4096)
    assert constant(text, "kArenaBytes") == "9216" and constant(text, "kRingSamples") == "4096"


def test_switches_are_those_of_the_ops():
    text = "// Why.\n#ifndef KSER_KERNEL_ADD\n#define KSER_KERNEL_ADD 1\n#endif\n#define KSER_KERNEL_L2_NORMALIZATION 1\n"
    changed = codegen.switches_source(text, {"L2_NORMALIZATION"})
    assert changed == text.replace("KERNEL_ADD 1", "KERNEL_ADD 0")
    assert codegen.switches_source(changed, {"ADD", "L2_NORMALIZATION"}) == text


def test_golden_input_is_the_golden_clip_as_predict_hears_it():
    values = codegen.golden_input(sources.metadata(CONFIG), sources.description(CONFIG))
    assert (values.dtype, values.shape) == (np.int8, (CONFIG.num_frames, CONFIG.num_mels))
    np.testing.assert_array_equal(values, sources.board_input(codegen.golden_clip(CONFIG), CONFIG))
