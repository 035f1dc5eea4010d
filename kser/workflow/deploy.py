"""From a finished .tflite, without its run or corpus, to a board's firmware project."""

from __future__ import annotations

from collections.abc import Mapping

from kser.boards import doctor
from kser.config import SmoothingConfig, from_dict, to_dict
from kser.errors import KserError
from kser.files import require_empty, write_tree
from kser.firmware import project
from kser.tflite import model_file


def write_project(
    path: str, board: str, project_dir: str, smoothing: Mapping[str, float], force: bool = False
) -> doctor.Diagnosis:
    """Writes the firmware project of a model for a board, if the model runs there or `force` is set.

    Args:
      path: an int8 .tflite with kser's metadata, as bin/fold_and_convert writes it; it is run in a child process first.
      project_dir: must be empty or not exist.
      smoothing: settings of the board's decisions that differ from the model's, by name.

    Returns:
      The diagnosis of the model, with these settings, on the board.

    Raises:
      ConfigError: there is no project for the board, or a setting is out of range.
      ModelFileError: the model is damaged, not int8, or has no metadata.
      KserError: `project_dir` holds files, or the model does not run on the board.
    """
    project.require_shell(board)
    require_empty(project_dir)
    model_bytes = with_smoothing(model_file.read_model_file(path), smoothing, path)
    (diagnosis,) = doctor.examine(model_bytes, [board], name=path)
    if diagnosis.verdict != doctor.DOES_NOT_RUN or force:
        write_tree(project_dir, project.project_files(model_bytes, board, diagnosis.figures))
    return diagnosis


def with_smoothing(model_bytes: bytes, smoothing: Mapping[str, float], name: str = "The model") -> bytes:
    """The model, in whose metadata some settings of the decisions are changed; without any it stays as it is."""
    metadata = model_file.read_metadata(model_bytes, name)
    if not smoothing:
        return model_bytes
    try:
        own = from_dict(SmoothingConfig, metadata.get("smoothing", {}))
    except (KserError, TypeError) as error:
        raise model_file.damaged_metadata(name) from error
    return model_file.add_metadata(model_bytes, {**metadata, "smoothing": to_dict(own.changed(**smoothing))})
