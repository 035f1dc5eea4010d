"""Untrusted models, and what a function does in the child process that it must not do in this one."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from kser.errors import ConfigError, KserError, ModelFileError
from kser.export import convert
from kser.tflite import interpreter, model_file
from kser.tflite.sandbox import CLIPS_PER_CALL, Limits, Sandbox, SandboxedRunner, SandboxError
from tests import damage, toy_model
from tests.toy_model import NUM_CLASSES, NUM_FRAMES, NUM_MELS

KINDS = ("tflite", "tflm")
METADATA = {"labels": ["a", "b"]}
NUM_FLIPPED = 500
BRIEF = Limits(seconds=20, cpu_seconds=5, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(BRIEF) as sandbox:
        yield sandbox


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def spin():
    while True:
        pass


def double(number):
    return 2 * number


def refuse():
    raise KserError("A sentence.")


def write_nonsense():
    """A reply that is none, as a child with a corrupted memory might send."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            pass
    time.sleep(30)


@pytest.mark.parametrize(
    "function, arguments, message",
    [
        (crash, (), r"^crashes \(SIGSEGV\)$"),
        (os.abort, (), r"^crashes \(SIGABRT\)$"),
        (os._exit, (3,), "^ends without a result$"),
        (spin, (), "^takes more than 1 s of processor time$"),
        (time.sleep, (600,), "^takes longer than 3 s$"),
        (bytearray, (1 << 30,), r"^fails \(MemoryError\)$"),
        (double, ({},), r"^fails \(TypeError\)$"),
        (write_nonsense, (), "^(ends without a result|crashes .SIGKILL.)$"),
    ],
)
def test_a_function_that_does_not_return_is_told_of_and_the_next_one_runs(function, arguments, message):
    # Only who sleeps may meet the limit on wall time: on a busy computer a second of processor time takes its time.
    seconds = 3 if function is time.sleep else 300
    with Sandbox(Limits(seconds, cpu_seconds=1, memory_bytes=256 << 20)) as sandbox:
        with pytest.raises(SandboxError, match=message):
            sandbox.run(function, *arguments)
        assert sandbox.run(double, 21) == 42


def test_errors_of_the_function_keep_their_sentence(sandbox):
    with pytest.raises(ModelFileError, match=r"^A sentence\.$") as error:
        sandbox.run(refuse)
    assert not isinstance(error.value, SandboxError)


def test_one_child_runs_function_after_function_and_ends_with_the_sandbox():
    with Sandbox(BRIEF) as sandbox:
        child = sandbox.run(os.getpid)
        assert child == sandbox.run(os.getpid) != os.getpid()
        assert sandbox.run(len, bytes(5 << 20)) == 5 << 20
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_what_the_child_prints_is_seen_nowhere(capfd, sandbox):
    sandbox.run(os.system, "echo noise; echo noise >&2")
    sandbox.run(print, "noise")
    assert capfd.readouterr() == ("", "")


# --- Models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_bytes():
    """A healthy int8 model with metadata."""
    bare = convert.to_int8_tflite(toy_model.toy_model(), toy_model.features(10))
    return model_file.add_metadata(bare, METADATA)


@pytest.fixture
def sandboxed(tmp_path):
    """A function of kind and bytes to the SandboxedRunner of a file m.tflite with them."""

    with Sandbox(Limits(seconds=60, cpu_seconds=10, memory_bytes=1 << 30)) as sandbox:

        def sandboxed(kind: str, content: bytes) -> SandboxedRunner:
            path = tmp_path / "m.tflite"
            path.write_bytes(content)
            return SandboxedRunner(kind, str(path), sandbox)

        yield sandboxed


def assert_one_sentence(error: ModelFileError, path: str) -> None:
    message = str(error)
    assert message.startswith(f"{path} ") and message.endswith(".") and message.isprintable(), message


# --- Healthy models


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_computes_what_this_process_does(sandboxed, model_bytes, kind):
    clips = toy_model.features(CLIPS_PER_CALL + 3, seed=1)
    runner = sandboxed(kind, model_bytes)
    logits = runner.logits(clips)
    assert logits.dtype == np.float32 and len(np.unique(logits)) > 10
    np.testing.assert_array_equal(logits, interpreter.open_runner(kind, model_bytes).logits(clips))
    assert [tensor.shape for tensor in runner.tensors()] == [(1, NUM_FRAMES, NUM_MELS), (1, NUM_CLASSES)]
    assert runner.metadata() == METADATA


def test_float_logits_come_back_to_the_bit(sandboxed):
    model_bytes = convert.to_float_tflite(toy_model.toy_model())
    clips = toy_model.features(3)
    expected = interpreter.open_runner("tflm", model_bytes).logits(clips)
    np.testing.assert_array_equal(sandboxed("tflm", model_bytes).logits(clips), expected)


# --- Bad input


def test_an_unknown_interpreter_is_refused(sandboxed, model_bytes):
    with pytest.raises(ConfigError, match="'onnx'; known: tflite, tflm"):
        sandboxed("onnx", model_bytes)


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_features_are_refused(sandboxed, model_bytes, kind):
    with pytest.raises(ModelFileError, match=r"m.tflite takes float32 features \(n, 24, 16\), not float32 \(2, 23, 16\)"):
        sandboxed(kind, model_bytes).logits(toy_model.features(2)[:, 1:])


@pytest.mark.parametrize("kind", KINDS)
def test_every_sixteenth_of_a_model_is_refused(sandboxed, model_bytes, kind):
    for content in damage.truncated(model_bytes):
        with pytest.raises(ModelFileError, match="m.tflite is (empty|not a TensorFlow Lite model|truncated or damaged)"):
            sandboxed(kind, content).tensors()


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_never_take_this_process_down(sandboxed, tmp_path, model_bytes, kind):
    """Each of 500 variants gives logits or one sentence: what bin/predict and bin/evaluate do with a model."""
    clips, computed, refused = toy_model.features(2), 0, 0
    for content in damage.flipped(model_bytes, NUM_FLIPPED):
        runner = sandboxed(kind, content)
        try:
            runner.metadata()
            shape = runner.tensors()[1].shape
            assert runner.logits(clips).shape == (2, shape[1])
            computed += 1
        except ModelFileError as error:
            assert_one_sentence(error, str(tmp_path / "m.tflite"))
            refused += 1
    assert computed > 50 and refused > 50


@pytest.mark.parametrize(("kind", "words"), [("tflite", "the op Erf is missing"), ("tflm", "a custom op is missing")])
def test_an_unknown_custom_op_is_told_of(sandboxed, model_bytes, kind, words):
    model = model_file.parse(model_bytes)
    code = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "Erf"
    with pytest.raises(ModelFileError, match=f"m.tflite does not run in TensorFlow Lite.*: {words} there"):
        sandboxed(kind, model_file.pack(model)).tensors()


def test_a_model_that_crashes_at_a_clip_is_told_of(sandboxed, model_bytes, monkeypatch):
    monkeypatch.setattr(interpreter.TFLMRunner, "invoke", lambda *_: os.kill(os.getpid(), signal.SIGSEGV))
    runner = sandboxed("tflm", model_bytes)
    assert runner.tensors()
    with pytest.raises(ModelFileError, match=r"m.tflite is damaged: running it crashes \(SIGSEGV\); write it again\.$"):
        runner.logits(toy_model.features(1))


def test_logits_that_are_not_finite_are_refused(sandboxed, model_bytes):
    model = model_file.parse(model_bytes)
    graph = model.subgraphs[0]
    graph.tensors[graph.outputs[0]].quantization.scale = np.array([np.inf], np.float32)
    with pytest.raises(ModelFileError, match="m.tflite is damaged: its logits are not finite"):
        sandboxed("tflm", model_file.pack(model)).logits(toy_model.features(1))
