"""What is imported to read a run's data and to train."""

from __future__ import annotations

import subprocess
import sys


def test_training_imports_no_plots_boards_or_printing():
    code = (
        "import sys\n"
        "from kser.training import distillation, evaluation, input_pipeline, metrics, run_data, run_directory, trainer\n"
        "unneeded = ('matplotlib', 'kser.cli', 'kser.boards', 'kser.tflite', 'kser.plots')\n"
        "print([name for name in sys.modules if name.startswith(unneeded)])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"
