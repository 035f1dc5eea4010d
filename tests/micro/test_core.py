"""The firmware's core on this computer: unit tests under sanitizers, and the features and labels of bin/predict."""

from __future__ import annotations

import numpy as np
import pytest

from kser.audio import device_log_mel, reading
from kser.audio.log_mel import log_mel_numpy
from kser.config import SAMPLE_RATE_HZ, FeatureConfig, SmoothingConfig
from kser.firmware import codegen
from kser.models.inference import softmax
from kser.tflite import interpreter, model_file, op_graph, timeline
from kser.tflite import smoothing as smoothing_rule
from kser.tflite.predict import Predictor
from tests import tiny
from tests.micro import sources, toolchain
from tests.micro.host_core import HostCore

pytestmark = pytest.mark.skipif(bool(toolchain.missing("g++")), reason=toolchain.missing("g++"))

NUM_CLIPS = 120
CONFIGS = {
    "default": FeatureConfig(),
    "padded_window": FeatureConfig(window_ms=25, hop_ms=12.5, num_mels=24, remove_level=False, clip_seconds=0.6),
    "window_of_16_bits": FeatureConfig(log_floor=1e-9, clip_seconds=1),
    "window_of_64_ms": FeatureConfig(window_ms=64, hop_ms=64, num_mels=80, lower_hz=0, upper_hz=8000, clip_seconds=1),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Directories of generated settings, by name of the configuration."""
    directory = tmp_path_factory.mktemp("settings")
    return {name: sources.write_settings(directory / name, config) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def speech(speech_data_dir):
    """Paths of real clips, from the whole corpus."""
    paths = sorted((speech_data_dir / "ravdess_16k_flac").rglob("*.flac"))
    return [str(path) for path in paths[:: len(paths) // NUM_CLIPS][:NUM_CLIPS]]


def build_core(directory, settings, config, labels=sources.LABELS):
    return HostCore(toolchain.host_library(directory / "core.so", settings), config, len(labels))


# --- Units ------------------------------------------------------------------------------------------------------------


UNITS = [(unit, "default") for unit in ("ring_buffer", "score_smoother", "json_line", "microphone_check")]
UNITS += [(unit, name) for unit in ("log_mel", "feature_window", "feature_stream") for name in CONFIGS]


@pytest.mark.parametrize("unit, name", UNITS)
def test_unit(unit, name, settings, tmp_path):
    test = toolchain.HERE / f"{unit}_test.cc"
    files = [test, *toolchain.CORE_SOURCES, *toolchain.SHELL_SOURCES]
    toolchain.run(toolchain.host_program(tmp_path / unit, settings[name], files))


@pytest.mark.parametrize("name", ["default", "window_of_64_ms"])
@pytest.mark.parametrize("backend", ["KSER_FFT_CMSIS", "KSER_FFT_ESP"])
def test_fft_of_another_library(backend, name, settings, tmp_path):
    flags = [*toolchain.SANITIZERS, f"-D{backend}", f"-I{toolchain.HERE / 'fakes'}"]
    test = toolchain.HERE / "log_mel_test.cc"
    toolchain.run(toolchain.host_program(tmp_path / "test", settings[name], [test, *toolchain.CORE_SOURCES], flags))


def test_an_fft_that_cannot_be_set_up_is_told(settings, tmp_path):
    flags = ["-DKSER_FFT_ESP", "-DCONFIG_DSP_MAX_FFT_SIZE=128", f"-I{toolchain.HERE / 'fakes'}"]
    (tmp_path / "main.cc").write_text('#include "feature_stream.h"\nint main() { return kser::FeatureStream().SetUp(); }\n')
    files = [tmp_path / "main.cc", *toolchain.CORE_SOURCES]
    toolchain.run(toolchain.host_program(tmp_path / "test", settings["default"], files, flags))


def test_ring_buffer_has_no_data_race(settings, tmp_path):
    test = toolchain.HERE / "ring_buffer_test.cc"
    toolchain.run(toolchain.host_program(tmp_path / "test", settings["default"], [test], ["-fsanitize=thread"]))


@pytest.mark.parametrize("std", ["c++14", "c++17"])
def test_library_compiles_strictly(std, settings, tmp_path):
    toolchain.check_library(tmp_path / "object.o", settings["default"], std)


def test_settings_that_contradict_themselves_do_not_compile(settings, tmp_path):
    text = (settings["default"] / "kser_settings.h").read_text()
    (tmp_path / "kser_settings.h").write_text(text.replace("kHopSamples = 160", "kHopSamples = 600"))
    with pytest.raises(AssertionError, match="kHopSamples must not exceed kWindowSamples"):
        toolchain.check_library(tmp_path / "object.o", tmp_path, "c++14")


# --- Features ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_log_mel_is_that_of_numpy(name, settings, tmp_path):
    config = CONFIGS[name]
    samples = codegen.golden_clip(config)
    expected = log_mel_numpy(samples / reading.PCM16_FULL_SCALE, config)
    # Roundings of float32, in bands some 60 dB below those beside them.
    np.testing.assert_allclose(build_core(tmp_path, settings[name], config).log_mel(samples), expected, atol=1e-4)


@pytest.mark.parametrize("flags", [(), ("-march=native", "-O3")], ids=["plain", "native"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_board_is_computed_to_the_bit(name, flags, settings, tmp_path):
    """Whatever the processor has: fused multiply-adds, vectors."""
    config = CONFIGS[name]
    library = toolchain.host_library(tmp_path / "core.so", settings[name], flags)
    core = HostCore(library, config, len(sources.LABELS))
    noise = np.random.default_rng(0).integers(-(2**15), 2**15, config.clip_samples).astype(np.int16)
    for samples in (codegen.golden_clip(config), noise, np.zeros_like(noise), np.full_like(noise, -(2**15))):
        np.testing.assert_array_equal(core.log_mel(samples), device_log_mel.board_log_mel(samples, config))
        with core.open_stream() as stream:
            stream.feed(samples)
            np.testing.assert_array_equal(stream.take(), sources.board_input(samples, config))


def test_golden_clip_is_the_same_in_both_languages(settings, tmp_path):
    config = FeatureConfig(clip_seconds=60)  # in which all its periods end
    core = build_core(tmp_path, settings["default"], config)
    np.testing.assert_array_equal(core.golden_clip(), codegen.golden_clip(config))


def test_features_of_real_clips_are_those_of_training(settings, speech, tmp_path):
    config = CONFIGS["default"]
    core = build_core(tmp_path, settings["default"], config)
    normalize, tensor = sources.normalization(config).apply, sources.input_tensor(config)
    differences = np.zeros(256, int)
    for path in speech:
        clip = reading.fix_clip(reading.load(path), config)
        expected = interpreter.quantize(normalize(log_mel_numpy(clip, config)), tensor)
        with core.open_stream() as stream:
            assert stream.feed(reading.to_pcm16(clip))
            steps = np.abs(stream.take().astype(int) - expected)
            assert stream.lost_samples() == 0
        differences += np.bincount(steps.ravel(), minlength=256)
    assert len(speech) >= 100
    assert differences[:2].sum() >= 0.999 * differences.sum()
    assert differences[3:].sum() == 0


def test_features_of_real_clips_are_those_of_prediction(settings, speech, tmp_path):
    config = CONFIGS["default"]
    core = build_core(tmp_path, settings["default"], config)
    for path in speech:
        samples = reading.to_pcm16(reading.fix_clip(reading.load(path), config))
        with core.open_stream() as stream:
            stream.feed(samples)
            np.testing.assert_array_equal(stream.take(), sources.board_input(samples, config))


# --- Labels -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def model_core(trained, tmp_path):
    """The tiny run's model, bin/predict's predictor of it, and the core with its settings."""
    model = trained.result.model_bytes
    (tmp_path / "settings").mkdir()
    text = codegen.settings_source(model_file.read_metadata(model), op_graph.describe(model))
    (tmp_path / "settings" / "kser_settings.h").write_text(text)
    with Predictor(str(trained.model_file()), "tflm") as predictor:
        yield model, predictor, build_core(tmp_path, tmp_path / "settings", predictor.config, predictor.labels)


def device_label(core, model, predictor, path):
    """Ring, features and smoother in C++, the model in TFLM's wheel."""
    samples = reading.to_pcm16(reading.fix_clip(reading.load(path, predictor.config.upper_hz), predictor.config))
    runner = interpreter.TFLMRunner(model)
    with core.open_stream() as stream:
        assert stream.feed(samples)
        label, probabilities = stream.decide(runner.invoke(stream.take()[np.newaxis])[0])
    return predictor.labels[label], probabilities


def test_labels_of_the_corpus_are_those_of_predict(trained, model_core):
    model, predictor, core = model_core
    for utterance in trained.corpus.utterances:
        assert device_label(core, model, predictor, utterance.path)[0] == predictor.predict(utterance.path).label


def test_labels_of_real_clips_are_those_of_predict(model_core, speech):
    model, predictor, core = model_core
    for path in speech:
        label, probabilities = device_label(core, model, predictor, path)
        expected = predictor.predict(path)
        assert label == expected.label, path
        # The same logits, and then a softmax of float32.
        np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-6)


def long_recording(predictor) -> np.ndarray:
    """Tones of all labels, noise, and silence, of some seconds each; (num_samples,) float32."""
    rng = np.random.default_rng(0)
    parts = [np.resize(tiny.tone(label, take, take), int(s * SAMPLE_RATE_HZ)) for label, take, s in LONG]
    quiet = 1e-4 * rng.standard_normal(3 * SAMPLE_RATE_HZ).astype(np.float32)
    return np.concatenate([*parts[:5], quiet, *parts[5:], np.zeros(SAMPLE_RATE_HZ // 3, np.float32)])


# Label, take, seconds: some too short to change the decision.
LONG = ((0, 0, 3), (1, 1, 4), (2, 2, 0.3), (1, 1, 2), (2, 0, 4), (2, 1, 3), (0, 1, 0.7), (2, 1, 2), (0, 3, 5))


def test_decisions_on_a_long_recording_are_those_of_predict(model_core):
    """Sample by sample through ring, features and smoother in C++, and all at once in Python."""
    model, predictor, core = model_core
    samples, config = long_recording(predictor), predictor.config
    runner, found = interpreter.TFLMRunner(model), []
    heard = timeline.heard_samples(samples, config)
    with core.open_stream() as stream:
        assert config.window_samples == config.hop_samples  # a frame at a time
        for end in range(config.hop_samples, len(heard) + 1, config.hop_samples):
            if stream.feed(heard[end - config.hop_samples : end]):
                second = end / SAMPLE_RATE_HZ
                found.append((second, *stream.decide(runner.invoke(stream.take()[np.newaxis])[0])))
    seconds, labels, probabilities = zip(*found, strict=True)
    expected = timeline.timeline(predictor, samples)
    np.testing.assert_allclose(expected.ends, seconds)
    assert expected.labels == tuple(predictor.labels[i] if i >= 0 else timeline.SILENCE_NAME for i in labels)
    np.testing.assert_allclose(expected.probabilities, probabilities, atol=1e-6)
    assert len(found) > 50 and timeline.SILENCE_NAME in expected.labels and len(set(labels)) > 2


def test_levels_of_frames_are_those_of_the_board(settings, tmp_path):
    for name, config in CONFIGS.items():
        (tmp_path / name).mkdir()
        core = build_core(tmp_path / name, settings[name], config)
        rng = np.random.default_rng(0)
        samples = (10 ** rng.uniform(-1, 4.4) * rng.standard_normal(3 * config.clip_samples)).clip(-32768, 32767)
        samples[: config.clip_samples] *= 0.01
        samples = samples.astype(np.int16)
        codes, dbfs = device_log_mel.board_frames(samples, config)
        np.testing.assert_array_equal(codes, device_log_mel.board_codes(samples, config))
        for begin in (0, len(dbfs) // 2, len(dbfs) - config.num_frames):
            with core.open_stream() as stream:
                first = begin * config.hop_samples
                stream.feed(samples[first : first + (config.num_frames - 1) * config.hop_samples + config.window_samples])
                assert stream.loudest_dbfs() == dbfs[begin : begin + config.num_frames].max()


def test_the_rule_of_decisions_is_the_boards(settings, tmp_path):
    """A thousand windows whose scores wander, with silences."""
    config, smoothing = CONFIGS["default"], SmoothingConfig()
    core = build_core(tmp_path, settings["default"], config)
    scale = sources.description(config).outputs[0].scale
    rng = np.random.default_rng(0)
    wander = np.cumsum(rng.normal(0, 12, (1000, len(sources.LABELS))), axis=0)
    logits = np.clip(wander - wander.mean(axis=1, keepdims=True), -128, 127).astype(np.int8)
    levels = rng.choice([-20.0, -60.0, -61.0], 1000, p=[0.9, 0.05, 0.05]).astype(np.float32)
    smoother = smoothing_rule.ScoreSmoother(smoothing, len(sources.LABELS))
    labels = []
    with core.open_stream() as stream:
        for row, level in zip(logits, levels, strict=True):
            label, probabilities = stream.decide(row, level)
            found = smoother.update(softmax(np.float32(scale) * row.astype(np.float32)), level)
            assert found.label == label
            np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-6)
            labels.append(label)
    assert set(labels) == {-1, 0, 1, 2, 3} and np.count_nonzero(np.diff(labels)) > 50


def test_a_recording_that_is_too_quiet_is_silence(settings, tmp_path):
    config = CONFIGS["default"]
    core = build_core(tmp_path, settings["default"], config)
    rng = np.random.default_rng(0)
    for rms, silent in ((10, True), (300, False)):
        with core.open_stream() as stream:
            stream.feed((rms * rng.standard_normal(config.clip_samples)).astype(np.int16))
            stream.take()
            label, _ = stream.decide(np.int8([1, 2, 3, 0]))
            assert label == (-1 if silent else 2)
