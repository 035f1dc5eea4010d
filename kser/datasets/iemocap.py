"""IEMOCAP (Busso et al. 2008, doi:10.1007/s10579-008-9076-6): dialogues of five pairs of actors, read with four emotions.

`SessionN/dialog/EmoEvaluation/<dialogue>.txt` has one line per utterance, `[begin - end] <utterance> <emotion>
[valence, activation, dominance]`, and other lines, of single raters, that do not begin with a bracket. Its audio is
`SessionN/sentences/wav/<dialogue>/<utterance>.wav`; the dialogue is the utterance's name without its last five characters.
`Ses01F_impro02_M003`: session 1, the woman wore the motion markers, and the *man* speaks.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance, speakers_held_out
from kser.datasets.files import few, require_directory
from kser.errors import DatasetError

NAME = "iemocap"
RELEASE = "IEMOCAP_full_release"
LABELS = ("angry", "happy", "neutral", "sad")
OPTIONS = {"improvised": "Only the improvised dialogues, not the scripted ones."}

# None: not one of the four classes used in the literature. `xxx`: the raters did not agree.
EMOTIONS = {"ang": "angry", "hap": "happy", "exc": "happy", "neu": "neutral", "sad": "sad"} | dict.fromkeys(
    ("xxx", "fru", "sur", "fea", "oth", "dis")
)
SESSIONS = "12345"
GENDERS = {"F": "female", "M": "male"}
SPEAKERS = tuple(session + letter for session in SESSIONS for letter in GENDERS)
# Utterances of each speaker, in the order of LABELS, and those of the improvised dialogues of all.
PUBLISHED = {
    "1F": (147, 132, 171, 78),
    "1M": (82, 146, 213, 116),
    "2F": (67, 166, 135, 113),
    "2M": (70, 161, 227, 84),
    "3F": (92, 128, 130, 172),
    "3M": (148, 158, 190, 133),
    "4F": (205, 185, 76, 62),
    "4M": (122, 118, 182, 81),
    "5F": (78, 159, 221, 132),
    "5M": (92, 283, 163, 113),
}
PUBLISHED_IMPROVISED = (289, 947, 1099, 608)

_LINE = re.compile(
    r"\[\s*[\d.]+\s*-\s*[\d.]+\s*\]\s+"
    r"(?P<name>(?P<dialogue>(?P<half>Ses0(?P<session>[1-5])[FM])_\w+)_(?P<speaker>[FM])\d{3})\s+"
    rf"(?P<emotion>{'|'.join(EMOTIONS)})\b(?:\s+\[(?P<ratings>[^\]]*)\])?"
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The utterances of the four classes, excited counted as happy, by name; `data_dir` is the release or its parent.

    Protocols: `leave_one_session_out`, whose split k tests Session k (SpeechFormer's split k tests Session 6-k);
    `leave_one_speaker_out`, which validates on the dialogue partner of the test speaker; and
    `motion_capture_halves_speakers_shared`, ten parts by who wore the motion markers, as in Light-SERNet: dialogues do not
    overlap, but *both speakers of a test part are also in the training part*.

    Raises:
      DatasetError: no IEMOCAP found, or no audio of it.
    """
    require_directory(data_dir, NAME)
    root = _root(data_dir)
    utterances, warnings = _labelled(root)
    warnings += count_differences(utterances)
    if "improvised" in options:
        utterances = [u for u in utterances if u.attributes["dialogue"] == "improvised"]
        warnings += improvised_differences(utterances)
    with_audio = tuple(u for u in utterances if os.path.isfile(u.path))
    if not with_audio:
        raise DatasetError(
            f"None of the {len(utterances)} utterances of '{NAME}' labelled in {root} has its audio in "
            "SessionN/sentences/wav; extract the whole release."
        )
    if missing := [u.utterance_id for u in utterances if not os.path.isfile(u.path)]:
        warnings.append(f"{len(missing)} labelled utterances of '{NAME}' have no wav and are left out ({few(missing)}).")
    return Corpus(NAME, LABELS, with_audio, _protocols(), tuple(warnings))


def _protocols() -> dict[str, Protocol]:
    partner = {"F": "M", "M": "F"}
    by_speaker = tuple(HeldOut((speaker,), (speaker[0] + partner[speaker[1]],)) for speaker in SPEAKERS)
    halves = tuple(HeldOut((f"Ses0{speaker}",)) for speaker in SPEAKERS)
    return {
        "leave_one_session_out": speakers_held_out([s + letter for letter in GENDERS] for s in SESSIONS),
        "leave_one_speaker_out": Protocol("speaker", by_speaker),
        "motion_capture_halves_speakers_shared": Protocol("motion_capture_half", halves, shared=("speaker",)),
    }


def _root(data_dir: str) -> str:
    for root in (data_dir, os.path.join(data_dir, RELEASE)):
        if any(os.path.isdir(os.path.join(root, f"Session{session}")) for session in SESSIONS):
            return root
    raise DatasetError(
        f"Neither {data_dir} nor a {RELEASE} in it contains the folders Session1 to Session5 of '{NAME}'; "
        f"point --data_dir at {RELEASE} as distributed."
    )


def _labelled(root: str) -> tuple[list[Utterance], list[str]]:
    """The utterances of the label files, with or without audio, and the defects of those files."""
    by_name, repeated, odd_lines, empty_files = {}, [], [], []
    for path in _label_files(root):
        lines = [(n, line) for n, line in enumerate(_read(path).splitlines(), 1) if line.startswith("[")]
        if not lines:
            empty_files.append(os.path.basename(path))
        for number, line in lines:
            match = _LINE.match(line)
            if not match:
                odd_lines.append(f"{os.path.basename(path)} line {number}")
            elif match["name"] in by_name:
                repeated.append(match["name"])
            else:
                by_name[match["name"]] = _utterance(root, match)
    if not any(by_name.values()):
        raise DatasetError(
            f"No file in {root}/SessionN/dialog/EmoEvaluation labels an utterance of '{NAME}'; extract the whole release."
        )
    told = (
        (empty_files, "label files of '{}' contain no utterance"),
        (odd_lines, "lines of label files of '{}' cannot be parsed and are left out"),
        (repeated, "lines of label files of '{}' repeat an utterance; the first was taken"),
    )
    warnings = [f"{len(names)} {what.format(NAME)} ({few(names)})." for names, what in told if names]
    return [by_name[name] for name in sorted(by_name) if by_name[name]], warnings


def _label_files(root: str) -> Iterator[str]:
    """The label files; not those of single raters in the folders below, nor hidden files `._*.txt`."""
    for session in SESSIONS:
        folder = os.path.join(root, f"Session{session}", "dialog", "EmoEvaluation")
        try:
            names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        except OSError as error:
            raise DatasetError(f"{folder} cannot be read ({error.strerror}); check its permissions.") from error
        paths = [os.path.join(folder, name) for name in names if name.endswith(".txt") and not name.startswith(".")]
        yield from filter(os.path.isfile, paths)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error


def _utterance(root: str, match: re.Match) -> Utterance | None:
    label = EMOTIONS[match["emotion"]]
    if label is None:
        return None
    name, dialogue, session = match["name"], match["dialogue"], match["session"]
    path = os.path.join(root, f"Session{session}", "sentences", "wav", dialogue, f"{name}.wav")
    ratings = (match["ratings"] or "").split(",")
    attributes = {
        "gender": GENDERS[match["speaker"]],
        "recording_session": session,
        "motion_capture_half": match["half"],
        "dialogue": "improvised" if "_impro" in dialogue else "scripted",
        "emotion": match["emotion"],
    }
    if len(ratings) == 3:
        attributes |= dict(zip(("valence", "activation", "dominance"), map(str.strip, ratings), strict=True))
    return Utterance(name, path, label, session + match["speaker"], dialogue, attributes=attributes)


def count_differences(utterances: Iterable[Utterance]) -> list[str]:
    """Warnings on numbers of utterances by session, gender and label that differ from the published ones."""
    counts = Counter((u.speaker, u.label) for u in utterances)
    absent = [s for s in SESSIONS if not any(speaker[0] == s for speaker, _ in counts)]
    differences = [
        f"Session {speaker[0]} {GENDERS[speaker[1]]} {label}: {counts[speaker, label]} instead of {number}"
        for speaker in SPEAKERS
        for label, number in zip(LABELS, PUBLISHED[speaker], strict=True)
        if counts[speaker, label] != number and speaker[0] not in absent
    ]
    warnings = []
    if absent:
        warnings.append(f"No utterance of '{NAME}' is labelled in {', '.join(f'Session {s}' for s in absent)}.")
    if differences:
        total = sum(map(sum, PUBLISHED.values()))
        warnings.append(
            f"{counts.total()} utterances of '{NAME}' are labelled instead of the {total} published; of their counts by "
            f"session, gender and label {len(differences)} differ ({few(differences)})."
        )
    return warnings


def improvised_differences(utterances: Iterable[Utterance]) -> list[str]:
    """A warning on numbers of improvised utterances by label that differ from the published ones, if any."""
    counts = Counter(u.label for u in utterances)
    differences = [
        f"{label}: {counts[label]} instead of {number}"
        for label, number in zip(LABELS, PUBLISHED_IMPROVISED, strict=True)
        if counts[label] != number
    ]
    return [f"The improvised utterances of '{NAME}' differ in number ({'; '.join(differences)})."] if differences else []
