"""Scans a corpus as an Apache Beam pipeline, for corpora that are too large for one machine.

The workers do the same as `scan.scan`, chunk by chunk, and write the results to a directory shared with the process that
started the pipeline; they must reach the audio by the same paths. Install with the extra `kser[beam]`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from kser.audio.log_mel import batch_extractor
from kser.config import FeatureConfig, from_dict, to_dict
from kser.datasets.corpus import Utterance
from kser.datasets.scan import ClipReport, chunks, scan_chunk
from kser.errors import DatasetError


class ScanChunk(beam.DoFn):
    """Takes (path, clips as JSON values), and writes the clips' reports and features to a file at that path."""

    def __init__(self, settings: dict):
        self.settings = settings

    def setup(self):
        self.config = from_dict(FeatureConfig, self.settings)
        self.extract = batch_extractor(self.config)

    def process(self, chunk):
        path, rows = chunk
        reports, features = scan_chunk([_utterance(row) for row in rows], self.config, self.extract)
        result = io.BytesIO()
        text = json.dumps([astuple(report) for report in reports])
        np.savez(result, reports=np.frombuffer(text.encode(), np.uint8), features=features)
        with FileSystems.create(path) as file:
            file.write(result.getvalue())
        yield path


def _utterance(row: dict) -> Utterance:
    return Utterance(**{**row, "span": row["span"] and tuple(row["span"])})


def beam_scan(
    utterances: Sequence[Utterance], config: FeatureConfig, work_dir: str, runner: str, runner_flags: Sequence[str] = ()
) -> Iterator[tuple[list[ClipReport], np.ndarray]]:
    """Yields the same as `scan.scan`, computed by a Beam runner.

    Args:
      work_dir: a directory for the results, shared by the workers and this process; a path or an address Beam knows.
      runner: Beam's name of the runner, such as DirectRunner, FlinkRunner or DataflowRunner.
      runner_flags: further options of the runner, as `--name=value`.

    Raises:
      DatasetError: there is no such runner, or it failed.
    """
    paths = [FileSystems.join(work_dir, f"chunk-{place.start:09d}.npz") for place in chunks(len(utterances))]
    work = [
        (path, [asdict(u) for u in utterances[place]]) for path, place in zip(paths, chunks(len(utterances)), strict=True)
    ]
    try:
        with beam.Pipeline(options=PipelineOptions([f"--runner={runner}", *runner_flags])) as pipeline:
            _ = pipeline | beam.Create(work) | beam.Reshuffle() | beam.ParDo(ScanChunk(to_dict(config)))
    except Exception as error:  # every runner has its own exceptions
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DatasetError(f"The Beam runner {runner} could not scan the corpus: {reason}.") from error
    yield from map(_read_chunk, paths)


def _read_chunk(path: str) -> tuple[list[ClipReport], np.ndarray]:
    with FileSystems.open(path) as file, np.load(io.BytesIO(file.read())) as chunk:
        reports = [ClipReport(*row) for row in json.loads(chunk["reports"].tobytes())]
        return reports, chunk["features"]
