"""MELD (Poria et al. 2019, https://affective-meld.github.io): 13 708 utterances of the series Friends, 7 emotions.

Tables `train_sent_emo.csv`, `dev_sent_emo.csv` and `test_sent_emo.csv` name speaker, emotion, dialogue and utterance of each
clip. The corpus is video, `train_splits/diaD_uttU.mp4`; kser reads the extracted audio, `diaD_uttU.wav` below a folder whose
name contains the part's (`train`, `dev_splits_complete`, `output_repeated_splits_test`). Dialogue numbers start again in
every part, and the main cast speaks in all three.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance
from kser.datasets.files import AUDIO_EXTENSIONS, few, find_files, require_directory
from kser.errors import DatasetError

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
EMOTIONS = {
    "neutral": "neutral",
    "joy": "happy",
    "surprise": "surprised",
    "anger": "angry",
    "sadness": "sad",
    "disgust": "disgust",
    "fear": "fearful",
}
NUM_CLIPS = {"train": 9989, "dev": 1109, "test": 2610}
NUMBER = re.compile("[0-9]{1,6}")
COLUMNS = ("speaker", "emotion", "dialogue_id", "utterance_id")
PROTOCOLS = {"official_speakers_shared": Protocol("part", (HeldOut(("test",), ("dev",)),), shared=("speaker",))}
# Their video is damaged as distributed; published results are on 9988 and 1108 clips, without them.
BROKEN = ("train_dia125_utt3", "dev_dia110_utt7")
# Copies of the test folder have such files too. How they differ is not documented: they are counted in a warning.
PREFIX_OF_COPIES = "final_videos_test"
HOW_TO_EXTRACT = "extract it first as mono at 16 kHz, for example by ffmpeg -i dia0_utt0.mp4 -ac 1 -ar 16000 dia0_utt0.wav"


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The clips that have a row in a table and an audio file, in the tables' order: train, dev, test.

    Raises:
      DatasetError: no such directory, no table or an unusable one, or no audio extracted yet.
    """
    require_directory(data_dir, "meld")
    tables, warnings = _find_tables(data_dir)
    annotated = {}
    for part, path in tables.items():
        rows, more = _read_table(part, path)
        annotated.update(rows)
        warnings += more
    audio, more = _find_clips(data_dir, AUDIO_EXTENSIONS)
    videos, _ = _find_clips(data_dir, (".mp4",))
    if not any(name in audio for name in annotated):
        _refuse_without_audio(data_dir, videos)
    warnings += more + _differences(annotated, audio, videos)
    utterances = tuple(
        _utterance(name, audio[name], *row) for name, row in annotated.items() if name in audio and name not in BROKEN
    )
    if not utterances:
        raise DatasetError(f"All clips of 'meld' below {data_dir} are known to be damaged; add the others.")
    return Corpus("meld", LABELS, utterances, PROTOCOLS, tuple(warnings))


def _utterance(name: str, path: str, speaker: str, label: str) -> Utterance:
    dialogue, _ = name.rsplit("_", 1)
    return Utterance(name, path, label, speaker, session=dialogue, attributes={"part": name.split("_")[0]})


def _find_tables(data_dir: str) -> tuple[dict[str, str], list[str]]:
    """The table of each part, and warnings on missing or repeated tables."""
    found = {part: [] for part in NUM_CLIPS}
    for path in find_files(data_dir, (".csv",)):
        part = os.path.basename(path).lower().removesuffix("_sent_emo.csv")
        if part in found:
            found[part].append(path)
    missing = [f"{part}_sent_emo.csv" for part in found if not found[part]]
    if len(missing) == len(found):
        raise DatasetError(
            f"There is no table of 'meld' ({', '.join(missing)}) below {data_dir}; point --data_dir at a directory with "
            "its tables and its audio."
        )
    warnings = [f"'meld' lacks the table {name}: that part is left out." for name in missing]
    for paths in found.values():
        if len(paths) > 1:
            warnings.append(f"There are {len(paths)} tables {os.path.basename(paths[0])}; {paths[0]} is read.")
    return {part: paths[0] for part, paths in found.items() if paths}, warnings


def _read_table(part: str, path: str) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Speaker and label by clip name, and warnings on differences from the published table."""
    text, warnings = _read_text(path)
    table = os.path.basename(path)
    rows, unusable, repeated = {}, [], []
    for line, (speaker, emotion, dialogue, number) in _values(path, text):
        if not (speaker and emotion.lower() in EMOTIONS and NUMBER.fullmatch(dialogue) and NUMBER.fullmatch(number)):
            unusable.append(f"line {line}")
            continue
        name = f"{part}_dia{int(dialogue)}_utt{int(number)}"
        if name in rows:
            repeated.append(name)
        rows.setdefault(name, (speaker, EMOTIONS[emotion.lower()]))
    if unusable:
        warnings.append(f"{len(unusable)} rows of {table} are unusable and left out ({few(unusable)}).")
    if repeated:
        warnings.append(f"{len(repeated)} rows of {table} repeat a clip; the first of each is used ({few(repeated)}).")
    if len(rows) != NUM_CLIPS[part]:
        warnings.append(f"'meld' has {NUM_CLIPS[part]} utterances in {table}; found: {len(rows)}.")
    return rows, warnings


def _values(path: str, text: str) -> list[tuple[int, tuple[str, ...]]]:
    """For each row its line number and the fields of COLUMNS."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        missing = [column for column in COLUMNS if column not in reader.fieldnames]
        if missing:
            raise DatasetError(f"The table {path} of 'meld' has no column {', '.join(missing)}; is it the published one?")
        return [(reader.line_num, tuple((row[column] or "").strip() for column in COLUMNS)) for row in reader]
    except csv.Error as error:
        raise DatasetError(f"The table {path} of 'meld' is damaged near line {reader.line_num + 1} ({error}).") from None


def _read_text(path: str) -> tuple[str, list[str]]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise DatasetError(f"The table {path} of 'meld' cannot be read ({error.strerror}); check its permissions.") from None
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        warning = f"{os.path.basename(path)} is not in UTF-8 and was read as Windows-1252; speakers' names may be off."
        return data.decode("cp1252", errors="replace"), [warning]


def _find_clips(data_dir: str, extensions: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """The file of each clip by name, and warnings on files that were not used."""
    clips, reasons = {}, Counter()
    for path in find_files(data_dir, extensions):
        *folders, file_name = os.path.relpath(path, data_dir).replace(os.sep, "/").split("/")
        stem = os.path.splitext(file_name)[0]
        match = re.fullmatch(r"dia(\d+)_utt(\d+)", stem)
        part = _part_of(folders)
        if stem.startswith(PREFIX_OF_COPIES):
            reasons[f"are called {PREFIX_OF_COPIES}* and are probably copies of those with plain names"] += 1
        elif not match:
            reasons["are not named like clips of 'meld' (dia0_utt0)"] += 1
        elif not part:
            reasons["are not in a folder named after train, dev or test"] += 1
        elif (name := f"{part}_dia{int(match[1])}_utt{int(match[2])}") in clips:
            reasons["have the same name as another in the same part"] += 1
        else:
            clips[name] = path
    return clips, [f"{count} audio files {reason}; they are left out." for reason, count in reasons.items()]


def _part_of(folders: list[str]) -> str:
    """The part named by the innermost folder with such a name."""
    for folder in reversed(folders):
        match = re.search(r"(?:^|[^a-z])(train|dev|test)(?:[^a-z]|$)", folder.lower())
        if match:
            return match[1]
    return ""


def _refuse_without_audio(data_dir: str, videos: dict[str, str]) -> None:
    if videos:
        raise DatasetError(f"'meld' below {data_dir} is video ({len(videos)} .mp4) without audio; {HOW_TO_EXTRACT}.")
    raise DatasetError(
        f"There is no audio of annotated clips of 'meld' below {data_dir}; put it into folders named after its part "
        "(train, dev, test), such as train/dia0_utt0.wav."
    )


def _differences(annotated: dict, audio: dict[str, str], videos: dict[str, str]) -> list[str]:
    warnings = []
    broken = [name for name in BROKEN if name in annotated]
    if broken:
        warnings.append(f"{len(broken)} clips of 'meld' are damaged as distributed and left out ({few(broken)}).")
    missing = [name for name in annotated if name not in audio and name not in BROKEN]
    if missing:
        unextracted = sum(name in videos for name in missing)
        hint = f"; {unextracted} of them are there as video: {HOW_TO_EXTRACT}" if unextracted else ""
        warnings.append(f"{len(missing)} annotated clips of 'meld' have no audio and are left out ({few(missing)}){hint}.")
    unannotated = [name for name in audio if name not in annotated]
    if unannotated:
        warnings.append(f"{len(unannotated)} clips have no row in the tables and are left out ({few(unannotated)}).")
    return warnings
