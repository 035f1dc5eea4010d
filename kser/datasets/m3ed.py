"""M3ED (Zhao et al., ACL 2022, doi:10.18653/v1/2022.acl-long.391): dialogues of 56 Mandarin TV series, seven emotions.

`annotation.json`: series -> dialogue -> `SpeakerInfo` (letter -> Name, Gender, Age) and `Dialog` (utterance -> Speaker,
StartTime, EndTime, EmoAnnotation). Letters are local to a dialogue, times are `hours:minutes:seconds:frames` of 25 frames a
second. The label is `final_main_emo`; `final_mul_emo` may join several by commas. Audio is
`modality_speech/<letter>_<utterance>.wav`, and `splitInfo/movie_list_{train,val,test}.txt` name the series of each part.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance
from kser.datasets.files import few, find_audio, require_directory
from kser.errors import DatasetError

NAME = "m3ed"
EMOTIONS = {
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "disgust": "disgust",
    "anger": "angry",
    "fear": "fearful",
    "surprise": "surprised",
}
LABELS = tuple(EMOTIONS.values())
OPTIONS: dict[str, str] = {}
FRAMES_PER_SECOND = 25
NUM_SERIES = {"train": 38, "val": 7, "test": 11}
NUM_ANNOTATED = 24449

# Possible defects of a copy, and the warning for each.
_SENTENCES = {
    "no_audio": "{} annotated utterances of 'm3ed' have no audio in modality_speech and are left out ({}).",
    "odd": "{} utterances in annotation.json have no speaker or none of the seven emotions and are left out ({}).",
    "no_times": "{} utterances in annotation.json have unreadable times, which are ignored ({}).",
    "no_name": "{} speakers in annotation.json have no name and count as a different speaker in every dialogue ({}).",
    "unlisted": "{} series of 'm3ed' are in no list of splitInfo, so they belong to no part and are left out ({}).",
    "not_annotated": "{} series listed in splitInfo are not in annotation.json ({}).",
}


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The annotated utterances that have audio, in the order of annotation.json; the protocol is the official split.

    Raises:
      DatasetError: no M3ED found, no audio of it, annotations that are not JSON, or a series listed in two parts.
    """
    require_directory(data_dir, NAME)
    annotation = _read_annotation(data_dir)
    parts = _read_parts(data_dir)
    audio = _find_audio(data_dir)
    problems = defaultdict(list)
    problems["unlisted"] = [series for series in annotation if series not in parts]
    problems["not_annotated"] = [series for series in parts if series not in annotation]
    utterances = []
    for series, part in parts.items():
        for dialogue, entry in _branch(annotation, series).items():
            utterances += _utterances(dialogue, entry, {"series": series, "part": part}, audio, problems)
    if not utterances:
        raise DatasetError(
            f"No utterance in {data_dir}/annotation.json has an emotion and audio in {data_dir}/modality_speech "
            "(such as A_<series>_1_1.wav); get both from the distributors of M3ED."
        )
    told = tuple(text.format(len(problems[key]), few(problems[key])) for key, text in _SENTENCES.items() if problems[key])
    official = Protocol("part", (HeldOut(test=("test",), validation=("val",)),))
    return Corpus(NAME, LABELS, tuple(utterances), {"official": official}, _count_differences(annotation, parts) + told)


def _read(path: str, what: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except FileNotFoundError as error:
        raise DatasetError(
            f"There is no {path}, {what} of '{NAME}'; point --data_dir at the folder that contains it."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}, {what} of '{NAME}', cannot be read ({error}); get it again.") from error


def _read_annotation(data_dir: str) -> dict:
    path = os.path.join(data_dir, "annotation.json")
    text = _read(path, "the annotations")
    try:
        annotation = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not a complete JSON file ({error}); get it again.") from error
    if not isinstance(annotation, dict) or not any(_branch(annotation, series) for series in annotation):
        raise DatasetError(f"{path} does not contain series of dialogues like the annotations of '{NAME}'; get it again.")
    return annotation


def _read_parts(data_dir: str) -> dict[str, str]:
    """The part of each series, from the three lists."""
    parts = {}
    for part in NUM_SERIES:
        path = os.path.join(data_dir, "splitInfo", f"movie_list_{part}.txt")
        for series in _read(path, f"the list of series of the {part} part").split():
            if parts.setdefault(series, part) != part:
                raise DatasetError(f"{path} lists {series}, which is also in the {parts[series]} part; get the lists again.")
    return parts


def _find_audio(data_dir: str) -> dict[str, str]:
    folder = os.path.join(data_dir, "modality_speech")
    if not os.path.isdir(folder):
        raise DatasetError(f"There is no {folder}, the audio of '{NAME}'; ask its distributors for it and extract it there.")
    return {os.path.splitext(os.path.basename(path))[0]: path for path in find_audio(folder)}


def _branch(tree, *keys: str) -> dict:
    """The mapping at `keys`; empty if there is none, because annotations may be damaged anywhere."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def _text(tree, *keys: str) -> str:
    value = _branch(tree, *keys[:-1]).get(keys[-1])
    return value.strip() if isinstance(value, str) else ""


def _utterances(dialogue: str, entry, known: dict[str, str], audio, problems) -> Iterator[Utterance]:
    for name, turn in _branch(entry, "Dialog").items():
        letter = _text(turn, "Speaker")
        label = EMOTIONS.get(_text(turn, "EmoAnnotation", "final_main_emo").lower())
        if not letter or not label:
            problems["odd"].append(name)
        elif f"{letter}_{name}" not in audio:
            problems["no_audio"].append(f"{letter}_{name}")
        else:
            person = _branch(entry, "SpeakerInfo", letter)
            speaker = f"{known['series']}/{_text(person, 'Name')}"
            if not _text(person, "Name"):
                speaker = f"{known['series']}/{dialogue}/{letter}"
                problems["no_name"] += [] if speaker in problems["no_name"] else [speaker]
            attributes = known | _attributes(name, turn, person, problems)
            yield Utterance(name, audio[f"{letter}_{name}"], label, speaker, dialogue, attributes=attributes)


def _attributes(name: str, turn, person, problems) -> dict[str, str]:
    attributes = {
        "gender": _text(person, "Gender").lower(),
        "age": _text(person, "Age").lower(),
        "emotions": _text(turn, "EmoAnnotation", "final_mul_emo"),
    }
    start, stop = seconds(_text(turn, "StartTime")), seconds(_text(turn, "EndTime"))
    if start is None or stop is None or stop <= start:
        problems["no_times"].append(name)
    else:
        attributes |= {"start_s": f"{start:.2f}", "stop_s": f"{stop:.2f}"}
    return {key: value for key, value in attributes.items() if value}


def seconds(time: str) -> float | None:
    """`hours:minutes:seconds:frames` in seconds; None for anything else."""
    match = re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d):([01]\d|2[0-4])", time, re.ASCII)
    if not match:
        return None
    hours, minutes, whole, frames = map(int, match.groups())
    return hours * 3600 + minutes * 60 + whole + frames / FRAMES_PER_SECOND


def _count_differences(annotation: dict, parts: dict[str, str]) -> tuple[str, ...]:
    listed = {part: list(parts.values()).count(part) for part in NUM_SERIES}
    dialogues = [entry for series in annotation for entry in _branch(annotation, series).values()]
    annotated = sum(len(_branch(entry, "Dialog")) for entry in dialogues)
    if (listed, annotated) == (NUM_SERIES, NUM_ANNOTATED):
        return ()
    here, published = (", ".join(f"{number} {part}" for part, number in of.items()) for of in (listed, NUM_SERIES))
    return (f"'{NAME}' has {NUM_ANNOTATED} annotated utterances and {published} series; found: {annotated} and {here}.",)
