"""Instructions of kser's own int8 kernels on an emulated Cortex-M4F, and what whole networks give with them.

.venv/bin/python -m benchmarks.kernels
.venv/bin/python -m benchmarks.kernels --run_dirs=DIR,DIR --num_clips=200

Needs g++, arm-none-eabi-g++ and qemu-system-arm; with --run_dirs (converted runs) also what tests/micro/kernels_host.py
links a TFLM of this computer from.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from absl import app, flags

from kser import workflow
from kser.boards.catalog import CMSIS_NN, OWN_OPS, REFERENCE
from kser.boards.cost_model import instructions
from kser.config import DataPaths
from kser.tflite import interpreter, model_file, op_graph
from kser.tflite.op_graph import graph_nodes
from tests.measured_network import network
from tests.micro import kernels_host, kernels_m4, toolchain

FLAGS = flags.FLAGS
flags.DEFINE_list("run_dirs", "", "Converted runs whose models are compared with the tflite-micro wheel's logits.")
flags.DEFINE_string("data_dir", "", "Directory of their corpus; default: where it was.")
flags.DEFINE_integer("num_clips", 200, "Clips of the corpus, evenly spread over it.", lower_bound=1)

OWN = replace(CMSIS_NN, own=OWN_OPS)


def print_costs(folder: Path) -> None:
    """Instructions for an element or a multiply-accumulate, on the M4F and without its DSP instructions."""
    board, plain = (kernels_m4.run_on_board(folder, board) for board in (kernels_m4.M4F, kernels_m4.M3))
    print("| kernel | shape | instructions | each | plain C++, each |")
    print("|---|---|---|---|---|")
    for figure, other in zip(board, plain, strict=True):
        print(f"| {figure.kernel} | {figure.shape} | {figure.instructions} | {figure.cost:.2f} | {other.cost:.2f} |")
    print()


def print_reference_network() -> None:
    """The two-block Conformer of tests/measured_network.py by the cost model."""
    print("| network | reference | CMSIS-NN | with own kernels |")
    print("|---|---|---|---|")
    for norm in ("keras", "l2"):
        totals = [instructions(network(norm), kernels).total / 1e6 for kernels in (REFERENCE, CMSIS_NN, OWN)]
        print(f"| two blocks, norm '{norm}' | {' | '.join(f'{total:.1f} M' for total in totals)} |")
    print()


def clips_of(run_dir: str) -> np.ndarray:
    """(num_clips, num_frames, num_mels) of the run's corpus, normalized as its network wants it."""
    run, run_data = workflow.open_run(run_dir, DataPaths(FLAGS.data_dir))
    parts = [run_data.part(run, name).features for name in ("train", "validation", "test")]
    features = np.concatenate([part for part in parts if len(part)])
    return features[np.linspace(0, len(features) - 1, FLAGS.num_clips).astype(int)]


def print_network(runner: kernels_host.HostTFLM, run_dir: str) -> None:
    """Clips whose int8 logits are those of the wheel, with own kernels and with the library's; nodes, arena, estimates."""
    model_bytes = model_file.read_model_file(str(Path(run_dir) / workflow.MODEL_FILE))
    clips = clips_of(run_dir)
    inputs = interpreter.quantize(clips, op_graph.describe(model_bytes).inputs[0]).reshape(len(clips), -1)
    own, library = runner.run(model_bytes, inputs), runner.run(model_bytes, inputs, ["BATCH_MATMUL"])
    wheel = kernels_host.run_wheel(model_bytes, inputs)
    same = [int(np.all(a == b, axis=1).sum()) for a, b in ((own.outputs, wheel), (own.outputs, library.outputs))]
    nodes = graph_nodes(model_file.parse(model_bytes))
    totals = [f"{instructions(nodes, kernels).total / 1e6:.1f} M" for kernels in (CMSIS_NN, OWN)]
    cells = [Path(run_dir).name, *(f"{count} of {len(clips)}" for count in same), own.num_nodes]
    print(f"| {' | '.join(map(str, [*cells, own.arena_bytes, library.arena_bytes, *totals]))} |", flush=True)


def main(_) -> None:
    with tempfile.TemporaryDirectory() as folder:
        print_costs(Path(folder))
        print_reference_network()
        if not FLAGS.run_dirs:
            return
        program = kernels_host.build_runner(Path(folder), toolchain.OPTIMISED)
        runner = kernels_host.HostTFLM(program, Path(folder) / "log.txt")
        print("| model | as the wheel | as the library | nodes | arena | with the library's | CMSIS-NN | own kernels |")
        print("|---|---|---|---|---|---|---|---|")
        for run_dir in FLAGS.run_dirs:
            print_network(runner, run_dir)
        runner.close()


if __name__ == "__main__":
    app.run(main)
