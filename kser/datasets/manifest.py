"""The manifest: the list of a corpus' usable clips, so that every later run has the same clips in the same order.

JSON lines. The first is about the corpus (labels, protocols, excluded clips and why), each further one describes a clip: its
path below the corpus' directory and the content of the file.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance
from kser.datasets.scan import ClipReport
from kser.errors import DatasetError

FORMAT = 1


def manifest_text(corpus: Corpus, reports: Sequence[ClipReport], data_dir: str, excluded: dict[str, str]) -> str:
    """A corpus of usable clips as a manifest.

    Args:
      reports: one for each utterance.
      data_dir: the directory that the paths are relative to.
      excluded: names of the excluded clips, with the reason.
    """
    head = {
        "kser_manifest": FORMAT,
        "corpus": corpus.name,
        "labels": corpus.labels,
        "decision": corpus.decision,
        "protocols": {name: dataclasses.asdict(protocol) for name, protocol in corpus.protocols.items()},
        "warnings": corpus.warnings,
        "clips": len(corpus.utterances),
        "excluded": excluded,
    }
    rows = (_row(u, report, data_dir) for u, report in zip(corpus.utterances, reports, strict=True))
    return "".join(json.dumps(values) + "\n" for values in (head, *rows))


def _row(utterance: Utterance, report: ClipReport, data_dir: str) -> dict:
    return {
        "id": utterance.utterance_id,
        "path": os.path.relpath(utterance.path, data_dir),
        "label": utterance.label,
        "speaker": utterance.speaker,
        "session": utterance.session,
        "span": utterance.span,
        "attributes": dict(utterance.attributes),
        "sha256": report.digest,
        "bytes": report.num_bytes,
        "seconds": round(report.seconds, 6),
        "sample_rate_hz": report.sample_rate_hz,
        "channels": report.channels,
    }


def read_manifest(path: str, data_dir: str, name: str) -> tuple[Corpus, list[str]]:
    """The corpus of a manifest, with its files below `data_dir`, and the digest of each clip.

    Raises:
      DatasetError: the file is missing, damaged, written by a newer kser, or for another corpus than `name`.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            head, *rows = (json.loads(line) for line in stream)
        version = head["kser_manifest"]
    except OSError as error:
        raise DatasetError(f"The manifest {path} cannot be read ({error.strerror}); make one with bin/prepare.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not a manifest of bin/prepare; make one with it.") from error
    if version != FORMAT:
        raise DatasetError(
            f"{path} is a manifest of format {version!r}, this kser reads {FORMAT}; make it again with bin/prepare."
        )
    try:
        corpus = _corpus(head, rows, data_dir)
        digests = [_text(row, "sha256") for row in rows]
        num_clips = head["clips"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"{path} is damaged ({type(error).__name__}: {error}); make it again with bin/prepare."
        ) from error
    if corpus.name != name:
        raise DatasetError(f"{path} is a manifest of '{corpus.name}', not of '{name}'; use --dataset={corpus.name}.")
    if len(rows) != num_clips:
        raise DatasetError(f"{path} has {len(rows)} of its {num_clips} clips; make it again with bin/prepare.")
    return corpus, digests


def _corpus(head: dict, rows: list[dict], data_dir: str) -> Corpus:
    utterances = tuple(_utterance(row, data_dir) for row in rows)
    if unknown := {u.label for u in utterances} - set(head["labels"]):
        raise ValueError(f"{len(unknown)} labels, such as {min(unknown)}, are not in its head")
    protocols = {name: _protocol(values) for name, values in head["protocols"].items()}
    warnings = tuple(head["warnings"])
    return Corpus(head["corpus"], tuple(head["labels"]), utterances, protocols, warnings, head["decision"])


def _utterance(row: dict, data_dir: str) -> Utterance:
    name, path, label, speaker, session = (_text(row, key) for key in ("id", "path", "label", "speaker", "session"))
    span = None if row["span"] is None else _span(*row["span"])
    return Utterance(name, os.path.join(data_dir, path), label, speaker, session, span, dict(row["attributes"]))


def _text(row: dict, key: str) -> str:
    if not isinstance(row[key], str):
        raise TypeError(f"{key} must be a text, not {row[key]!r}")
    return row[key]


def _span(begin: float, end: float) -> tuple[float, float]:
    if not 0 <= begin < end:
        raise ValueError(f"a clip from {begin} to {end} s")
    return begin, end


def _protocol(values: dict) -> Protocol:
    splits = tuple(HeldOut(tuple(s["test"]), tuple(s["validation"])) for s in values["splits"])
    return Protocol(values["kind"], splits, tuple(values["shared"]))


def require_content(path: str, corpus: Corpus, expected: Sequence[str], found: Sequence[str]) -> None:
    """Raises DatasetError if audio files changed since the manifest was made; it names the first."""
    changed = [u.path for u, a, b in zip(corpus.utterances, expected, found, strict=True) if a != b]
    if changed:
        raise DatasetError(
            f"{len(changed)} files are not those of the manifest {path} (the first is {changed[0]}); restore them or make "
            "the manifest again with bin/prepare."
        )
