"""bin/board with a board that listens to its own microphone: its decisions as lines, a recording, the level of speech."""

from __future__ import annotations

import contextlib
import json

from absl import flags

from kser import files
from kser.cli import command
from kser.config import SAMPLE_RATE_HZ
from kser.errors import BoardError, ModelFileError

FLAGS = flags.FLAGS


def listen(predictor, print_board) -> int:
    """Prints each decision on what the board hears, and records it if asked; returns the exit status.

    Args:
      print_board: prints what board it is.
    """
    from kser.firmware.board_parity import require_same_model
    from kser.firmware.serial_link import Board, SerialPort

    with SerialPort(FLAGS.port, FLAGS.baud) as port, contextlib.ExitStack() as stack:
        board = Board(port, FLAGS.timeout)
        require_same_model(board, predictor)
        print_board(board.hello)
        recording = stack.enter_context(_recording()) if FLAGS.record else None
        heard, failed = _listen(board, predictor, recording)
    if FLAGS.record and not FLAGS.json:
        print(f"recorded {heard / SAMPLE_RATE_HZ:.1f} s to {FLAGS.record}")
    return int(failed)


@contextlib.contextmanager
def _recording():
    """A sound file that gets its name when all is in it."""
    import soundfile

    with (
        files.replacing(FLAGS.record) as temporary,
        soundfile.SoundFile(temporary, "w", SAMPLE_RATE_HZ, 1, "PCM_16") as recording,
    ):
        yield recording


def _listen(board, predictor, recording) -> tuple[int, bool]:
    """Until --seconds or Ctrl-C; the number of samples, and whether some are missing. When the line breaks, what came
    before is kept."""
    from kser.firmware.board_microphone import listen

    heard, lost, failed = 0, 0, False
    try:
        for sound in listen(board):
            heard, lost = heard + len(sound.samples), lost + sound.lost
            if recording:
                recording.write(sound.samples)
            if sound.decision:
                print(decision_line(heard / SAMPLE_RATE_HZ, sound.decision, predictor), flush=True)
            if FLAGS.seconds and heard >= FLAGS.seconds * SAMPLE_RATE_HZ:
                break
    except KeyboardInterrupt:
        pass
    except BoardError as error:
        if not heard:
            raise
        failed = command.fail(str(error))
    if lost:
        failed = command.fail(
            f"{lost / SAMPLE_RATE_HZ:.2f} s of {heard / SAMPLE_RATE_HZ:.2f} did not arrive and are silence here: the line "
            "is slower than sound. Use the board's native USB port, or a higher --baud on both sides."
        )
    return heard, bool(failed)


def training_levels(metadata: dict) -> tuple[float, float, float] | None:
    """5th, 50th and 95th percentile of the levels of the training clips, in dBFS; None where the model does not tell them.

    Raises:
      ModelFileError: they are no such numbers.
    """
    levels = metadata.get("training_dbfs")
    if levels is None:
        return None
    are_numbers = isinstance(levels, list) and all(isinstance(level, int | float) for level in levels)
    if not are_numbers or len(levels) != 3 or levels != sorted(levels):
        raise ModelFileError("--model has damaged kser metadata; write it again with bin/fold_and_convert.")
    return tuple(levels)


def decision_line(second: float, decision, predictor) -> str:
    """A decision of a board that listens, for a person or as JSON."""
    from kser.firmware.board_microphone import level_advice
    from kser.firmware.serial_link import SILENCE

    is_silent = decision.label == SILENCE
    label = "silence" if is_silent else predictor.labels[decision.label]
    if FLAGS.json:
        scores = dict(zip(predictor.labels, decision.probabilities.round(3).tolist(), strict=True))
        line = {"second": round(second, 2), "label": label, "scores": scores, "loudest_dbfs": decision.loudest_dbfs}
        return json.dumps(line)
    score = 0.0 if is_silent else float(decision.probabilities[decision.label])
    line = f"{second:8.2f} s  {label:<12} {score:.2f}  {decision.loudest_dbfs:4.0f} dBFS"
    if not FLAGS.level or is_silent:
        return line
    training_dbfs = training_levels(predictor.metadata)
    if not training_dbfs:
        return f"{line}  (the model does not say how loud its training was; convert it again)"
    low, _, high = training_dbfs
    return f"{line}  training {low:.0f} to {high:.0f}  {level_advice(decision.loudest_dbfs, training_dbfs) or 'good'}"
