"""Sends audio files (or all files in folders) to a board over its serial port and compares its results with this computer's.

With --record or --level, and without files, the board listens to its own microphone instead. It runs the firmware with
KSER_SERIAL=1. Exit status: 0 all within the bounds, 1 not, or bad input.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys

from absl import flags

from kser.cli import board_microphone, command
from kser.cli.columns import table_text
from kser.errors import AudioError, ConfigError, KserError

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("port", "", "The board's serial port, such as /dev/ttyACM0.")
    flags.DEFINE_string("model", "", "The model.tflite that the board's sketch was generated from.")
    flags.DEFINE_integer("baud", 921600, "Baud rate of the port; boards with native USB ignore it.", lower_bound=1)
    flags.DEFINE_float("timeout", 10.0, "Seconds to wait for an answer of the board.", lower_bound=0.1)
    flags.DEFINE_string("record", "", "New .wav file for what the board's microphone hears, while the board decides on it.")
    flags.DEFINE_bool("level", False, "Tell whether the microphone brings speech at the level of the training clips.")
    flags.DEFINE_float("seconds", 0.0, "Seconds to listen with --record or --level; 0: until Ctrl-C.", lower_bound=0.0)
    flags.DEFINE_bool("json", False, "Print one JSON object per clip and one summary object instead of text.")


def main(paths: list[str]) -> None:
    from kser.tflite.predict import Predictor, audio_files

    if not FLAGS.port or not FLAGS.model:
        raise ConfigError("bin/board needs --port, the board's serial port, and --model, the .tflite it runs.")
    if FLAGS.record or FLAGS.level:
        _require_only_listening(paths)
    elif not paths:
        raise ConfigError("bin/board needs one or more audio files or folders, or --record or --level.")
    clips = list(audio_files(paths))
    with Predictor(FLAGS.model, "tflm") as predictor:
        sys.exit(compare_all(predictor, clips) if clips else board_microphone.listen(predictor, print_board))


def _require_only_listening(paths: list[str]) -> None:
    if paths:
        raise ConfigError("With --record and --level the board listens to its microphone; leave out the audio files.")
    if FLAGS.record and not FLAGS.record.lower().endswith(".wav"):
        raise ConfigError(f"--record={FLAGS.record}: choose a name that ends in .wav.")
    if os.path.lexists(FLAGS.record):
        raise ConfigError(f"--record={FLAGS.record} exists already; choose another name.")

def compare_all(predictor, files: list[str]) -> int:
    """Prints a line for each file (on stderr for unusable ones), then a summary; returns the exit status."""
    from kser.firmware.board_parity import Comparison, summary
    from kser.firmware.serial_link import Board, SerialPort

    with SerialPort(FLAGS.port, FLAGS.baud) as port:
        board = Board(port, FLAGS.timeout)
        comparison = Comparison(board, predictor)
        print_board(board.hello)
        if not FLAGS.json:
            print("other inputs  steps  logits    heard     board      PC         clip")
        clips, failed = [], False
        for path in files:
            try:
                clips.append(comparison.compare(path))
                print(clip_line(clips[-1]), flush=True)
            except AudioError as error:
                failed = command.fail(str(error))
    if clips:
        _print_summary(summary(clips))
    _require_within(clips)
    return int(failed)


def print_board(hello) -> None:
    if FLAGS.json:
        return
    clock = f", {hello.cpu_hz / 1e6:g} MHz" if hello.cpu_hz else ""
    print(
        f"board: kser {hello.kser_version}, model {hello.metadata_hash:08x}, {hello.num_frames} x {hello.num_mels} inputs, "
        f"{hello.num_classes} labels, arena {hello.arena_bytes} bytes{clock}"
    )


def clip_line(clip) -> str:
    """One clip's result, for a person or as JSON."""
    if FLAGS.json:
        return json.dumps({**dataclasses.asdict(clip), "problem": clip.problem})
    names = f"{clip.board_label:<10} {clip.host_label:<10}"
    line = f"{clip.other_inputs:>12}  {clip.input_steps:>5}  {_steps(clip.logit_steps)}  {_steps(clip.heard_steps)}  {names}"
    return f"{line} {clip.path}" + (f": {clip.problem}" if clip.problem else "")


def _steps(count: int) -> str:
    return f"{f'{count} steps' if count else 'equal':<8}"


def _print_summary(values: dict) -> None:
    if FLAGS.json:
        print(json.dumps(values))
        return
    of_all = f"of {values['clips']}"
    silent = f", silent: {values['silent']}" if values["silent"] else ""
    print(f"inputs that differ: {values['other_inputs']} of {values['inputs']}, by at most {values['input_steps']} steps")
    print(
        f"logits equal for equal inputs: {values['logits_equal']} {of_all}, others by {values['logit_steps']} steps at most"
    )
    print(f"logits equal for the sound: {values['heard_logits_equal']} {of_all}")
    print(f"labels equal: {values['labels_equal']} {of_all}{silent}")
    print(_latency_table(values["latency_ms"]))


def _latency_table(latency_ms: dict) -> str:
    titles = {"front_end_frame": "front end, a frame", "decision": "decision", "model": "of it the model"}
    parts = ("least", "mean", "most")
    rows = [(title, *(f"{latency_ms[name][part]:.3f}" for part in parts)) for name, title in titles.items()]
    return table_text(("milliseconds", *parts), rows, left=("milliseconds",))


def _require_within(clips) -> None:
    from kser.firmware.board_parity import MAX_HEARD_STEPS, MAX_INPUT_STEPS, MAX_INPUTS_SHARE, MAX_LOGIT_STEPS

    beyond = [clip for clip in clips if clip.problem]
    if beyond:
        raise KserError(
            f"Board and PC differ beyond the bounds on {len(beyond)} of {len(clips)} clips, first {beyond[0].path}: "
            f"{beyond[0].problem}; allowed are {MAX_INPUTS_SHARE:.1%} of the inputs by {MAX_INPUT_STEPS} steps, logits by "
            f"{MAX_LOGIT_STEPS} steps and, where inputs differ, those of the sound by {MAX_HEARD_STEPS}."
        )


def run() -> None:
    define_flags()
    command.run(main, positional="audio files")


if __name__ == "__main__":
    run()
