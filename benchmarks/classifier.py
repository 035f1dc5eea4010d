"""The whole firmware on this computer, from samples to logits, against the front end and the interpreter of bin/predict.

.venv/bin/python -m benchmarks.classifier --models=RUN/model.tflite,RUN/model.tflite --data_dir=RAVDESS --clips=200

EmotionClassifier, op resolver and kernels are linked with a TFLM of this computer and play a board in the serial mode; clips
reach it as they do from bin/board. Needs g++ and what tests/micro/toolchain.py links TFLM from.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from absl import app, flags

from kser.boards.catalog import OWN_OPS
from kser.datasets.files import find_audio
from kser.firmware.board_parity import Comparison, summary
from kser.firmware.serial_link import Board, SerialPort
from kser.tflite import model_file, op_graph
from kser.tflite.predict import Predictor
from tests.micro import serial_board, toolchain

FLAGS = flags.FLAGS
flags.DEFINE_list("models", None, ".tflite files of bin/fold_and_convert.", required=True)
flags.DEFINE_string("data_dir", None, "Directory of audio files.", required=True)
flags.DEFINE_integer("clips", 200, "Clips, from all of the directory.", lower_bound=1)

# What the linked library lacks: with its own kernels otherwise, these are kser's too.
NOT_IN_LIBRARY = {"BATCH_MATMUL"}
BAUD = 115200
COLUMNS = (
    *("model", "kernels", "nodes", "arena", "logits as the wheel's", "largest step", "other inputs"),
    *("logits of the sound as bin/predict's", "labels as bin/predict's"),
)


def build(directory: Path, model_bytes: bytes, own_ops) -> Path:
    """The firmware with kser's kernels for `own_ops` and the library's for all others."""
    switches = [f"-DKSER_KERNEL_{op}=0" for op in sorted(OWN_OPS - set(own_ops))]
    flags_ = [*toolchain.OPTIMISED, *switches]
    serial_board.write_sources(directory, model_bytes, own_ops)
    return toolchain.serial_board(directory, toolchain.kernel_objects(directory, flags_), flags_)


def print_row(path: str, kernels: str, own_ops, paths: list[str]) -> None:
    model_bytes = model_file.read_model_file(path)
    with tempfile.TemporaryDirectory() as directory:
        program = build(Path(directory), model_bytes, own_ops)
        with (
            Predictor(path, "tflm") as predictor,
            serial_board.SerialBoard(program) as stand_in,
            SerialPort(stand_in.port, BAUD) as port,
        ):
            board = Board(port)
            comparison = Comparison(board, predictor)
            found = summary([comparison.compare(clip) for clip in paths])
    cells = [Path(path).parent.name, kernels, op_graph.describe(model_bytes).num_nodes, board.hello.arena_bytes]
    cells += [f"{found['logits_equal']} of {found['clips']}", found["logit_steps"]]
    cells += [f"{found['other_inputs']} of {found['inputs']}"]
    cells += [f"{found[name]} of {found['clips']}" for name in ("heard_logits_equal", "labels_equal")]
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main(_) -> None:
    paths = list(find_audio(FLAGS.data_dir))
    paths = paths[:: max(1, len(paths) // FLAGS.clips)][: FLAGS.clips]
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for path in FLAGS.models:
        print_row(path, "own", OWN_OPS, paths)
        print_row(path, "library", NOT_IN_LIBRARY, paths)


if __name__ == "__main__":
    app.run(main)
