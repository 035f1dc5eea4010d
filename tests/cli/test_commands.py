"""The commands as a user meets them when something is wrong: one sentence on stderr, a status, and nothing touched."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.config import SAMPLE_RATE_HZ
from kser.training.run_directory import FORMAT
from tests import tiny
from tests.cli.command_server import REPOSITORY, Outcome

RUN_FLAGS = ("--run_dir", "--data_dir", "--eval_data_dir", "--manifest", "--cache_dir", "--threads")
HELP = {
    "train": (
        *(*RUN_FLAGS, "--backbone", "--num_mels", "--hrf_expansion", "--[no]hrf_inner_bias", "--augment", "--epochs"),
        *("--dataset", "--protocol", "--split", "--label_set", "--eval_dataset", "--[no]shuffle_labels"),
    ),
    "fold_and_convert": (*RUN_FLAGS, "--representative_clips", "--board", "--deploy_dir"),
    "evaluate": (*RUN_FLAGS, "--model", "--[no]json"),
    "predict": ("--model", "--interpreter", "--[no]json", "--[no]csv", "--audacity", "--plot"),
    "demo": ("--out_dir", "--epochs"),
}
COMMANDS = tuple(HELP)
ACTORS = ("01", "02", "03", "04")  # the first is held out by split 1
SMALL = (
    "--num_layers=1",
    "--num_heads=2",
    "--hidden_dim=8",
    "--stem_channels=4,4",
    "--clip_seconds=0.6",
    "--hop_ms=32",
    "--num_mels=16",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Tones under RAVDESS' names: four actors with one clip of each emotion."""
    directory = tmp_path_factory.mktemp("corpus")
    for index, actor in enumerate(ACTORS):
        (directory / f"Actor_{actor}").mkdir()
        for emotion in range(8):
            path = directory / f"Actor_{actor}" / f"03-01-0{emotion + 1}-01-01-01-{actor}.wav"
            soundfile.write(path, tiny.tone(emotion % 3, index, emotion), SAMPLE_RATE_HZ)
    return directory


@pytest.fixture
def train(server, corpus, tmp_path):
    """Runs the training of a small network, on the small corpus unless told otherwise, in `tmp_path`/run."""

    def train(*arguments, **options) -> Outcome:
        defaults = ("--dataset=ravdess", f"--data_dir={corpus}", "--validation_speakers=1", f"--run_dir={tmp_path}/run")
        return server.run("train", *defaults, *SMALL, *arguments, **options)

    return train


def contents(directory) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in Path(directory).rglob("*") if p.is_file()}


def errors(outcome: Outcome) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if "Error" in line]


def assert_told(outcome: Outcome, *words: str) -> None:
    """Status 1, nothing printed, and one sentence that begins a line of its own and holds the words."""
    assert outcome.status == 1 and outcome.stdout == "", outcome
    assert "Traceback" not in outcome.stderr, outcome.stderr
    (sentence,) = errors(outcome)
    assert sentence.startswith("Error: ") and sentence.endswith("."), sentence
    for word in words:
        assert word in sentence, sentence


# --- Flags ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_flags(server, command):
    outcome = server.run(command, "--help")
    assert outcome.status == 0 and outcome.stderr == ""
    source = (REPOSITORY / "kser" / "cli" / f"{command}.py").read_text(encoding="utf-8")
    assert outcome.stdout.strip().startswith(source.split('"""')[1])
    for flag in HELP[command]:
        assert f"  {flag}:" in outcome.stdout, outcome.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag(server, command):
    assert_told(server.run(command, "--nonsense=1"), "Unknown command line flag 'nonsense'", "--help")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "predict"])
def test_a_stray_argument(server, command, tmp_path):
    where = f"--out_dir={tmp_path}/out" if command == "demo" else f"--run_dir={tmp_path}/out"
    assert_told(server.run(command, where, "stray"), "Unexpected argument 'stray'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--backbone=foo", "<conformer|convtransformer|speechformer>"),
        ("--hrf_where=third", "where must be one of first, second"),
        ("--stage_layers=1,1,1,1", "conformer has no stage_layers"),
        ("--epochs=abc", "abc"),
        ("--epochs", "Missing value"),
        ("--augment=maybe", "augment has no 'maybe'; it knows speed, "),
        ("--noaugment", "Unknown command line flag 'noaugment'"),
        ("--gain_db=3", "Unknown command line flag 'gain_db'"),
        ("--num_mels=-4", "num_mels must be a whole number from 4 to 128, not -4"),
        ("--hidden_dim=-1", "hidden_dim must be"),
        ("--stem_channels=8,--3", "stem_channels must be"),
        ("--epochs=0", "epochs must be"),
        ("--split=-1", "split must be"),
        ("--split=some", "split must be a number or 'all', not 'some'"),
        ("--split=7", "splits 1 to 6, not 7"),
        ("--validation_speakers=3", "3 for validation are too many"),
        ("--threads=-1", "[0, 1024]"),
        ("--threads=100000", "[0, 1024]"),
        ("--preset=huge", "no preset 'huge'; known: micro, light, large"),
        ("--dataset=iemocop", "no corpus 'iemocop'; known: "),
        ("--corpus_options=loud", "'ravdess' has no option 'loud'"),
        ("--protocol=nowhere", "no protocol 'nowhere'; known: emobox, leave_one_speaker_out"),
        ("--label_set=nowhere", "no label set 'nowhere'; known: 4class"),
        ("--eval_dataset=nowhere", "no corpus 'nowhere'; known: "),
        ("--manifest=missing", "The manifest missing cannot be read"),
        ("--manifest=/dev/null", "/dev/null is not a manifest"),
        ("--teachers=missing", "missing is not a run directory"),
        ("--teacher_share=0.5", "--teacher_share needs --teachers"),
        ("--select=best", "<auto|validation|last>"),
        ("--select=last", "leave out --validation_speakers"),
        ("--flagfile=missing", "Unable to open flagfile"),
        ("--run_dir=", "needs --run_dir"),
        ("--data_dir=", "needs --data_dir"),
        ("--data_dir=missing", "no directory missing"),
        ("--data_dir=/dev/null", "no directory /dev/null"),
    ],
)
def test_a_wrong_setting_of_a_training(train, tmp_path, argument, words):
    assert_told(train(argument), words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("evaluate", ["--model=onnx"], "<keras|folded|tflite|tflm>"),
        ("evaluate", [], "is not a run directory"),
        ("evaluate", ["--run_dir=missing"], "missing is not a run directory"),
        ("fold_and_convert", ["--run_dir=missing"], "missing is not a run directory"),
        ("fold_and_convert", ["--representative_clips=0"], "representative_clips must be a whole number from 1"),
        ("fold_and_convert", ["--deploy_dir=new"], "--deploy_dir needs --board"),
        ("fold_and_convert", ["--deploy_dir=/dev", "--board=esp32"], "/dev is not an empty directory"),
        ("fold_and_convert", ["--deploy_dir=new", "--board=nicla_sense"], "no project for the board 'nicla_sense'"),
        ("fold_and_convert", ["--deploy_dir=new", "--board=esp32", "--quantize=float"], "takes an int8 model"),
        ("train", ["--resume", "--run_dir=missing"], "missing is not a run directory"),
        ("train", ["--resume", "--run_dir=/dev"], "/dev is not a run directory"),
        ("predict", ["--interpreter=onnx"], "<tflm|tflite>"),
        ("predict", ["clip.wav"], "needs --model"),
        ("predict", ["--model=missing.tflite"], "needs one or more audio files"),
        ("predict", ["--model=missing.tflite", "clip.wav"], "missing.tflite cannot be read"),
        ("predict", ["--model=/dev/null", "clip.wav"], "/dev/null is empty"),
        ("demo", ["--epochs=0"], "positive"),
    ],
)
def test_a_wrong_setting_of_another_command(server, command, arguments, words):
    assert_told(server.run(command, *arguments), words)


def test_flags_from_a_file(train, tmp_path):
    (tmp_path / "flags").write_text("--num_mels=20\n# a remark\n--hidden_dim=-3\n")
    assert_told(train(f"--flagfile={tmp_path}/flags"), "hidden_dim must be", "not -3")


# --- The corpus -------------------------------------------------------------------------------------------------------


def test_unusable_files_among_good_ones(train, corpus, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    clips = sorted(data.rglob("*.wav"))
    damages = {
        "is empty": b"",
        "is not a readable audio file": b"This is a text.",
        "is truncated": clips[2].read_bytes()[:2000],
    }
    for clip, content in zip(clips, damages.values(), strict=False):
        clip.write_bytes(content)
    clips[3].unlink()
    clips[3].symlink_to("nowhere")
    outcome = train(f"--data_dir={data}")
    assert_told(outcome, "4 of 32 audio files cannot be used", *damages, *map(str, clips[:3]))
    assert not (tmp_path / "run").exists()


def test_a_corpus_that_may_not_be_read(train, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "data").mkdir(mode=0)
    assert_told(train(f"--data_dir={tmp_path}/data"), "cannot be read")


def test_a_corpus_without_clips(train, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    assert_told(train(f"--data_dir={tmp_path}"), "no clip of 'ravdess'", str(tmp_path))
    assert os.listdir(tmp_path) == ["notes.txt"]


# --- Run directories --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["evaluate", "fold_and_convert", "train"])
def test_a_run_of_another_version(server, trained, tmp_path, command):
    run = trained.copy(tmp_path)
    config = Path(run.run.file("config.json"))
    config.write_text(json.dumps({**json.loads(config.read_text()), "format": 99, "kser": "9.9"}))
    before = contents(run.path)
    resume = ["--resume"] if command == "train" else []
    assert_told(server.run(command, f"--run_dir={run.path}", *resume), "format 99 (kser 9.9)", f"reads format {FORMAT}")
    assert contents(run.path) == before


def test_an_existing_run_is_not_written_to(train, trained):
    before = contents(trained.path)
    assert_told(train(f"--run_dir={trained.path}"), "already holds a run; continue it with --resume")
    assert contents(trained.path) == before


def test_a_full_disk_ends_a_training_in_a_sentence(train, tmp_path):
    assert_told(train("--num_mels=18", max_file_bytes=500), "Cannot write", ".npy: File too large")  # the cache
    assert list(tmp_path.iterdir()) == []
    outcome = train("--epochs=1", "--augment=none", max_file_bytes=50_000)
    assert_told(outcome, "Cannot write", "weights.h5: File too large")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"config.json", "split.csv", "tensorboard"}


# --- Every split ------------------------------------------------------------------------------------------------------


def test_all_splits_are_trained_and_summed_up(server, train, tmp_path):
    settings = ("--protocol=speaker_groups_2", "--epochs=1", "--augment=gain:3")
    outcome = train("--split=all", *settings)
    assert outcome.status == 0 and "Traceback" not in outcome.stderr, outcome
    warned = [line for line in outcome.stderr.splitlines() if line.startswith("Warning: ")]
    assert len(warned) == len(set(warned)) == 2  # not for every split
    told = [line for line in outcome.stderr.splitlines() if line.startswith("training: epoch ")]
    assert len(told) == 2 and "\r" not in outcome.stderr  # a line an epoch, no bars
    lines = outcome.stdout.splitlines()
    beginnings = [
        "",
        "split 1",
        "split 2",
        "mean over splits",
        "pooled: 32 clips",
        "WA ",
        "95 % over",
        "recall: ",
        "written",
    ]
    assert len(lines) == 9 and all(map(str.startswith, map(str.strip, lines), beginnings)), lines
    assert lines[-1] == f"written to {tmp_path}/run"
    assert {"split_1", "split_2", "summary.json", "predictions.csv"} <= set(os.listdir(tmp_path / "run"))
    assert_told(train("--split=all", *settings), "already holds runs of splits", "--resume")
    evaluated = server.run("evaluate", f"--run_dir={tmp_path}/run")
    scores, several = evaluated.stdout.splitlines()[:8], evaluated.stdout.splitlines()[8:]
    assert (evaluated.status, scores) == (0, lines[:-1])
    assert several[0].startswith("above by the ") and len(several) == 3
    values = json.loads(server.run("evaluate", f"--run_dir={tmp_path}/run", "--json").stdout)
    assert len(values["splits"]) == 2 and values["pooled"]["speakers"] == values["several_windows"]["speakers"] == 4
    converted = server.run("fold_and_convert", f"--run_dir={tmp_path}/run", "--representative_clips=4")
    assert converted.status == 0 and converted.stdout.splitlines()[-7].startswith("pooled: 32 clips"), converted
    assert all((tmp_path / "run" / f"split_{number}" / "model.tflite").is_file() for number in (1, 2))
    refused = server.run("fold_and_convert", f"--run_dir={tmp_path}/run", "--board=esp32", f"--deploy_dir={tmp_path}/p")
    assert_told(refused, "A project holds one model", "split_1")


# --- Prediction -------------------------------------------------------------------------------------------------------


@pytest.fixture
def predict(server, trained):
    """Runs a prediction with the tiny run's int8 model."""
    return lambda *arguments, **options: server.run("predict", f"--model={trained.model_file()}", *arguments, **options)


@pytest.fixture
def clip(corpus) -> Path:
    return next(corpus.rglob("*.wav"))


def test_one_line_per_clip(predict, clip):
    outcome = predict(clip, clip)
    assert (outcome.status, outcome.stderr) == (0, "")
    first, second = outcome.stdout.splitlines()
    assert first == second
    path, label, shares = first.split("\t")
    assert path == str(clip) and label in tiny.LABELS
    values = {name: float(value) for name, value in (share.split("=") for share in shares.split())}
    assert set(values) == set(tiny.LABELS) and next(iter(values)) == label  # the likeliest first
    assert sum(values.values()) == pytest.approx(1, abs=0.02)


def test_lines_for_machines(predict, corpus):
    outcome = predict("--json", corpus / "Actor_01")
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert outcome.status == 0 and [row["path"] for row in rows] == sorted(map(str, (corpus / "Actor_01").iterdir()))
    for row in rows:
        assert list(row["probabilities"]) == list(tiny.LABELS)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_flags_may_follow_the_files(server, trained, clip):
    outcome = server.run("predict", clip, "--json", f"--model={trained.model_file()}", "--interpreter=tflite")
    assert outcome.status == 0 and json.loads(outcome.stdout)["path"] == str(clip)


@pytest.mark.parametrize(("content", "words"), [(None, "no audio file"), (b"", "is empty"), (b"text", "not a readable")])
def test_one_bad_file(predict, tmp_path, content, words):
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    assert_told(predict(path), words, str(path))


def test_bad_files_among_good_ones(predict, clip, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    outcome = predict(clip, tmp_path / "silent.wav", "missing.wav", clip)
    assert outcome.status == 1 and "Traceback" not in outcome.stderr
    assert [line.split("\t")[0] for line in outcome.stdout.splitlines()] == [str(clip)] * 2
    silent, missing = errors(outcome)
    assert "silent.wav is silent" in silent and "missing.wav" in missing


def test_a_folder_without_audio_is_told_before_anything_is_printed(predict, clip, tmp_path):
    assert_told(predict(clip, tmp_path), "No audio file (WAV, FLAC", f"lies below {tmp_path}")


@pytest.fixture
def recording(tmp_path) -> Path:
    """20 s: a low tone, silence, a high tone."""
    low, high = (np.resize(tiny.tone(label, 0, 0), 8 * SAMPLE_RATE_HZ) for label in (0, 2))
    soundfile.write(tmp_path / "long.wav", np.concatenate([low, np.zeros(4 * SAMPLE_RATE_HZ), high]), SAMPLE_RATE_HZ)
    return tmp_path / "long.wav"


def test_a_long_recording_has_a_line_for_each_time_of_one_emotion(predict, recording, clip):
    outcome = predict(recording, clip)
    assert (outcome.status, outcome.stderr) == (0, "")
    *lines, last = [line.split("\t") for line in outcome.stdout.splitlines()]
    assert [len(line) for line in lines] == [4] * len(lines) and len(last) == 3
    times = [tuple(map(float, line[1].split("-"))) for line in lines]
    assert times[0][0] == 0 and times[-1][1] == 20
    assert [end for _, end in times[:-1]] == [begin for begin, _ in times[1:]]
    labels = [line[2] for line in lines]
    assert all(label != after for label, after in itertools.pairwise(labels))
    assert "silence" in labels and set(labels) <= {*tiny.LABELS, "silence"}


def test_a_long_recording_for_machines_a_label_track_and_a_picture(predict, recording, clip, tmp_path):
    row = json.loads(predict("--json", recording).stdout)
    assert (row["path"], row["seconds"], set(row)) == (str(recording), 20, {"path", "seconds", "segments"})
    outcome = predict("--csv", f"--audacity={tmp_path}/track.txt", f"--plot={tmp_path}/time.png", recording)
    assert (outcome.status, outcome.stderr) == (0, "")
    table = list(csv.DictReader(outcome.stdout.splitlines()))
    assert list(table[0]) == ["path", "begin", "end", "label", *tiny.LABELS]
    track = [line.split("\t") for line in (tmp_path / "track.txt").read_text().splitlines()]
    for segment, cells, entry in zip(row["segments"], table, track, strict=True):
        assert segment["label"] == cells["label"] == entry[2]
        assert [segment["begin"], segment["end"]] == [float(cells["begin"]), float(cells["end"])]
        assert [float(time) for time in entry[:2]] == pytest.approx([segment["begin"], segment["end"]], abs=1e-3)
        assert list(segment["probabilities"].values()) == [float(cells[label]) for label in tiny.LABELS]
    assert (tmp_path / "time.png").read_bytes().startswith(b"\x89PNG")
    one = list(csv.DictReader(predict("--csv", f"--plot={tmp_path}/clip.png", clip).stdout.splitlines()))
    assert len(one) == 1 and one[0]["begin"] == "0.000" and (tmp_path / "clip.png").is_file()


@pytest.mark.parametrize("flag", ["audacity", "plot"])
def test_a_file_for_one_recording_replaces_no_other(predict, clip, tmp_path, flag):
    assert_told(predict(f"--{flag}={tmp_path}/out", clip, clip), f"--{flag} is for one file, not 2")
    before = clip.read_bytes()
    assert_told(predict(f"--{flag}={clip}", clip), "would replace what is read")
    assert clip.read_bytes() == before
    assert predict(f"--{flag}={tmp_path}/out", tmp_path / "missing.wav").status == 1 and not (tmp_path / "out").exists()


def test_json_or_csv(predict, clip):
    assert_told(predict("--json", "--csv", clip), "leave out --json or --csv")


def test_a_model_that_is_none_of_ours(server, trained, clip):
    path = trained.run.file("model_float.tflite")
    assert_told(server.run("predict", f"--model={path}", clip), path, "has no kser metadata")


def test_a_name_that_is_no_text(predict, clip, tmp_path):
    path = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.wav")
    shutil.copy(clip, path)
    outcome = predict(path)
    assert outcome.status == 0 and outcome.stdout.startswith(path + "\t")


def test_output_that_cannot_be_written(predict, clip):
    assert_told(predict(clip, stdout="/dev/full"), "The output: No space left on device")


# --- As started by a user ---------------------------------------------------------------------------------------------


def python(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, **options)


@pytest.mark.parametrize("module", [f"kser.cli.{command}" for command in COMMANDS])
def test_a_wrong_flag_is_told_before_tensorflow_is_imported(module):
    code = f"import runpy, sys; sys.argv = ['{module}', '--xyzzy']\n"
    code += f"try:\n    runpy.run_module('{module}', run_name='__main__')\n"
    code += "finally:\n    print(sorted({'tensorflow', 'soundfile'} & set(sys.modules)))"
    outcome = python("-c", code)
    assert outcome.returncode == 1 and outcome.stdout == "[]\n"
    assert outcome.stderr == "Error: Unknown command line flag 'xyzzy'. --help lists the flags.\n"


def test_a_command_as_a_process_says_no_more_than_in_the_server(tmp_path):
    outcome = python("-m", "kser.cli.evaluate", f"--run_dir={tmp_path}")
    assert outcome.returncode == 1 and outcome.stdout == ""
    assert outcome.stderr.startswith(f"Error: {tmp_path} is not a run directory") and outcome.stderr.count("\n") == 1


def test_a_reader_that_has_seen_enough(trained, corpus):
    """As `bin/predict ... | head -1`."""
    command = [sys.executable, "-m", "kser.cli.predict", f"--model={trained.model_file()}", *map(str, [corpus] * 20)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith(str(corpus))
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141  # as a shell reports SIGPIPE


def test_a_reader_that_has_seen_enough_of_the_help():
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "kser.cli.train", "--help"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_importing_kser_says_nothing_and_imports_nothing_heavy():
    code = "import sys, kser; print(kser.__version__, sorted({'tensorflow', 'numpy', 'absl'} & set(sys.modules)))"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))}
    outcome = python("-c", code, env=clean)
    assert (outcome.returncode, outcome.stderr) == (0, "") and outcome.stdout.endswith(" []\n")


def test_tensorflow_is_silent_after_kser():
    code = "import kser, tensorflow as tf, tf_keras; assert tf.keras.Model is tf_keras.Model; tf.constant(1) + 1"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))}
    outcome = python("-c", code, env=clean)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
