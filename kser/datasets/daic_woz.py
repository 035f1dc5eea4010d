"""DAIC-WOZ (Gratch et al. 2014; tables of AVEC 2017): 189 interviews by a virtual agent, depressed or not by PHQ-8.

`NNN_P/NNN_AUDIO.wav` is a session, both voices on one channel, and `NNN_P/NNN_TRANSCRIPT.csv` its turns, *tab*-separated:
start_time, stop_time, speaker (Ellie or Participant), value. `train_split_Depression_AVEC2017.csv`, the same of `dev`, and
`full_test_split.csv` hold the labels, and their columns are spelled differently. Numbers 342, 394, 398 and 460 do not exist.
Only turns of the participant are read, without sync markers and without the interruptions of sessions 373 and 444.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance
from kser.datasets.files import few, require_directory
from kser.errors import DatasetError

NAME = "daic_woz"
LABELS = ("not_depressed", "depressed")
SEGMENTS = 32
SPEECHFORMER_SEGMENTS = (18, 46)
OFFSETS_S = {"318": 34.319917, "321": 3.8379167, "341": 6.1892, "362": 16.8582}
INTERRUPTIONS_S = {"373": (395.0, 428.0), "444": (286.0, 387.0)}
MISLABELLED = "409"
OPTIONS = {
    "with_test": "Reads the test participants too, for the protocol official: validated on dev, tested on test.",
    "original_label_409": "Keeps the label 0 of participant 409, whose PHQ-8 score of 10 makes it 1.",
    "transcript_offsets": f"Adds to the times of transcripts {', '.join(OFFSETS_S)} the seconds reported for them.",
    "label_dependent_segments": "The longest 18 turns of those not depressed, 46 of those depressed, as SpeechFormer.",
}
TABLES = {
    "train": "train_split_Depression_AVEC2017.csv",
    "dev": "dev_split_Depression_AVEC2017.csv",
    "test": "full_test_split.csv",
}
TEST_NAMES = "test_split_Depression_AVEC2017.csv"
NUM_PARTICIPANTS = {"train": 107, "dev": 35, "test": 47}
NUM_DEPRESSED = {"train": 31, "dev": 12}  # with 409 corrected; for the test part no confirmed number is known

_SYNC = re.compile(r"[<\[]\s*sync\w*\s*[>\].]?", re.IGNORECASE)
# Possible defects of a copy, and the warning for each.
_SENTENCES = {
    "missing": "{} sessions of 'daic_woz' lack audio or transcript and are left out ({}); extract every NNN_P.zip.",
    "garbage": "{} transcripts of 'daic_woz' hold no table of turns and their sessions are left out ({}); get them again.",
    "windows": "{} transcripts of 'daic_woz' are not in UTF-8 and were read as Windows-1252 ({}).",
    "times": "{} turns of participants of 'daic_woz' have unusable times and are left out ({}).",
    "silent": "{} sessions of 'daic_woz' have no turn of the participant and are left out ({}).",
    "unlisted": "{} session folders of 'daic_woz' are not listed in any table and are left out ({}).",
    "offset": "The transcripts of {} sessions of 'daic_woz' are reported to be out of step with the audio and were not "
    "corrected ({}); the option transcript_offsets adds the seconds reported.",
}
_CORRECTED = (
    f"The label 0 of participant {MISLABELLED} of '{NAME}' was corrected to 1, for the PHQ-8 score is 10; "
    "the option original_label_409 keeps it."
)
_LABEL_DEPENDENT = (
    "The number of turns kept of a participant of 'daic_woz' depends on the label, in the test part too; labels are unknown "
    "in use, so these scores are only for comparison with SpeechFormer."
)


@dataclass(frozen=True)
class Participant:
    """A row of a table."""

    name: str
    label: int
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """A turn of a participant: the row of the transcript, counted from 1 below the header, and its seconds."""

    row: int
    span: tuple[float, float]

    @property
    def seconds(self) -> float:
        return round(
            self.span[1] - self.span[0], 3
        )  # rounded to the transcript's precision, so that equal lengths compare equal


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The SEGMENTS longest turns of every participant; one decision is made for each of them.

    Protocols: `dev_as_test` tests on the dev participants as the literature does, because the test labels were published
    late; the test participants are then not read and in no part. With the option `with_test` it is `official` instead.

    Offsets are added, not subtracted, as in public preprocessing scripts; this was not checked against the audio.

    Raises:
      DatasetError: no DAIC-WOZ found, E-DAIC instead, a damaged table, or no session extracted.
    """
    require_directory(data_dir, NAME)
    participants, warnings = _participants(data_dir, options)
    problems = defaultdict(list)
    problems["unlisted"] = _unlisted(data_dir, participants)
    utterances = [u for person in participants for u in _utterances(data_dir, person, options, problems)]
    if not utterances:
        raise DatasetError(
            f"No session of '{NAME}' in {data_dir} has audio and usable turns (such as {participants[0].name}_P/"
            f"{participants[0].name}_AUDIO.wav); extract every NNN_P.zip into a folder NNN_P."
        )
    told = [text.format(len(problems[key]), few(problems[key])) for key, text in _SENTENCES.items() if problems[key]]
    protocols = {"dev_as_test": Protocol("part", (HeldOut(test=("dev",)),))}
    if "with_test" in options:
        protocols = {"official": Protocol("part", (HeldOut(test=("test",), validation=("dev",)),))}
    return Corpus(NAME, LABELS, tuple(utterances), protocols, (*warnings, *told), decision="speaker")


# The tables.


def _participants(data_dir: str, options: frozenset[str]) -> tuple[list[Participant], list[str]]:
    parts = [part for part in TABLES if part != "test" or "with_test" in options]
    original = _listed(data_dir, parts)
    corrected = [dataclasses.replace(p, label=1) if p.name == MISLABELLED else p for p in original]
    warnings = _count_differences(corrected, parts)
    if "label_dependent_segments" in options:
        warnings.append(_LABEL_DEPENDENT)
    if "original_label_409" in options or corrected == original:
        return original, warnings
    return corrected, [*warnings, _CORRECTED]


def _listed(data_dir: str, parts: list[str]) -> list[Participant]:
    by_name = {}
    for part in parts:
        path = os.path.join(data_dir, TABLES[part])
        for person in _read_participants(path, part):
            if person.name in by_name:
                raise DatasetError(f"{path} has participant {person.name}, who was listed before; get the tables again.")
            by_name[person.name] = person
    if not by_name:
        raise DatasetError(f"The tables of '{NAME}' in {data_dir} list no participant; get them again.")
    return [by_name[name] for name in sorted(by_name)]


def _read_participants(path: str, part: str) -> Iterator[Participant]:
    for number, row in _table(path):
        label = row.get("phq8_binary", row.get("phq_binary"))
        if label not in ("0", "1"):
            raise DatasetError(
                f"Line {number} of {path} has no label 0 or 1 in its column PHQ8_Binary or PHQ_Binary; get it again."
            )
        score = row.get("phq8_score", row.get("phq_score", ""))
        gender = {"0": "male", "1": "female"}.get(row.get("gender"), "")
        attributes = {"part": part, "gender": gender, "phq8_score": score}
        yield Participant(row["participant_id"], int(label), {key: value for key, value in attributes.items() if value})


def _table(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column, in lower case, of the rows of a comma-separated table."""
    text = _decode(_read(path), ("utf-8-sig",))
    try:
        lines = list(csv.reader((text or "").splitlines()))
    except csv.Error as error:
        raise DatasetError(f"{path} is not a table ({error}); get it again.") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if "participant_id" not in header:
        raise DatasetError(f"{path} is not a comma-separated table with a column Participant_ID; get it again.")
    for number, cells in enumerate(lines[1:], 2):
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        if not any(row.values()):
            continue
        if not re.fullmatch(r"\d{3}", row.get("participant_id", ""), re.ASCII):
            raise DatasetError(f"Line {number} of {path} has no participant such as 303; get it again.")
        yield number, row


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise DatasetError(
            f"There is no {path}, a table of '{NAME}'; point --data_dir at the folder with the tables and the folders NNN_P "
            "(E-DAIC, the extended corpus, has other tables and is not read)."
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error


def _decode(data: bytes, encodings: tuple[str, ...]) -> str | None:
    """The text of the file; None if it is not text, such as the AppleDouble files in some copies."""
    for encoding in encodings if b"\0" not in data else ():
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def _count_differences(participants, parts: list[str]) -> list[str]:
    found = Counter(person.attributes["part"] for person in participants)
    depressed = Counter(person.attributes["part"] for person in participants if person.label)
    return [
        f"The {part} part of '{NAME}' has {NUM_PARTICIPANTS[part]} participants"
        + (f", {NUM_DEPRESSED[part]} of them depressed" if part in NUM_DEPRESSED else "")
        + f"; in {TABLES[part]} are {found[part]}, {depressed[part]} of them depressed."
        for part in parts
        if (found[part], depressed[part]) != (NUM_PARTICIPANTS[part], NUM_DEPRESSED.get(part, depressed[part]))
    ]


def _unlisted(data_dir: str, participants: list[Participant]) -> list[str]:
    listed = {person.name for person in participants}
    path = os.path.join(data_dir, TEST_NAMES)
    if os.path.isfile(path):
        listed |= {row["participant_id"] for _, row in _table(path)}
    folders = (re.fullmatch(r"(\d{3})_P", name, re.ASCII) for name in sorted(os.listdir(data_dir)))
    return [match[1] for match in folders if match and match[1] not in listed]


# The sessions.


def _utterances(data_dir: str, person: Participant, options: frozenset[str], problems) -> list[Utterance]:
    name = person.name
    audio, transcript = (os.path.join(data_dir, f"{name}_P", f"{name}_{end}") for end in ("AUDIO.wav", "TRANSCRIPT.csv"))
    if absent := [path for path in (audio, transcript) if not os.path.isfile(path)]:
        problems["missing"].append(os.path.relpath(absent[0], data_dir))
        return []
    rows = _rows(transcript, problems)
    if rows is None:
        problems["garbage"].append(name)
        return []
    offset = OFFSETS_S.get(name, 0.0)
    if offset and "transcript_offsets" not in options:
        problems["offset"].append(f"{name}: {offset:g} s")
        offset = 0.0
    turns = longest(_turns(name, rows, offset, problems), _num_segments(person, options))
    if not turns:
        problems["silent"].append(name)
    label, attributes = LABELS[person.label], person.attributes
    return [Utterance(f"{name}_s{t.row}", audio, label, name, name, t.span, attributes) for t in turns]


def _num_segments(person: Participant, options: frozenset[str]) -> int:
    return SPEECHFORMER_SEGMENTS[person.label] if "label_dependent_segments" in options else SEGMENTS


def _rows(path: str, problems) -> list[dict[str, str]] | None:
    """The cells of a transcript's rows by column; None if the file is not a transcript."""
    data = _read(path)
    text = _decode(data, ("utf-8-sig", "cp1252"))
    header, *lines = (text or "").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    columns = [column.strip().lower() for column in header.split("\t")]
    if len(columns) == 1 and "," in header and "time" in header.lower():
        raise DatasetError(
            f"{path} is separated by commas, not by tabs: that is E-DAIC, the extended corpus, or a copy that was changed; "
            f"'{NAME}' needs the original DAIC-WOZ."
        )
    if not {"start_time", "stop_time", "speaker", "value"} <= set(columns):
        return None
    if _decode(data, ("utf-8-sig",)) is None:
        problems["windows"].append(os.path.basename(path))
    return [dict(zip(columns, map(str.strip, line.split("\t")), strict=False)) for line in lines]


def _turns(name: str, rows: list[dict[str, str]], offset: float, problems) -> Iterator[Turn]:
    first, last = INTERRUPTIONS_S.get(name, (math.inf, -math.inf))
    for number, row in enumerate(rows, 1):
        value = row.get("value", "")
        if row.get("speaker", "").lower() != "participant" or not value or _SYNC.fullmatch(value):
            continue
        span = _span(row, offset)
        if span is None:
            problems["times"].append(f"{name} row {number}")
        elif span[1] <= first or span[0] >= last:
            yield Turn(number, span)


def _span(row: dict[str, str], offset: float) -> tuple[float, float] | None:
    try:
        begin, end = (float(row.get(key, "")) + offset for key in ("start_time", "stop_time"))
    except ValueError:
        return None
    return (begin, end) if 0 <= begin < end < math.inf else None


def longest(turns, count: int) -> list[Turn]:
    """The `count` longest turns (of equal ones the earlier), in temporal order."""
    chosen = sorted(turns, key=lambda turn: (-turn.seconds, turn.span))[:count]
    return sorted(chosen, key=lambda turn: turn.span)
