"""Corpora whose file names tell all: names, labels, speakers, splits, options, and copies that are not as published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kser.datasets import checksums, cremad, emodb, emovo, esd, files, nemo, savee, shemo, tess, urdu
from kser.datasets.corpus import Corpus, label_counts
from kser.datasets.protocols import find_protocol, make_split
from kser.errors import DatasetError

MODULES = {module.GRAMMAR.corpus: module for module in (cremad, emodb, emovo, esd, nemo, savee, shemo, tess, urdu)}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = (
    *("neutral", "calm", "happy", "excited", "sad", "angry", "frustrated"),
    *("fearful", "disgust", "surprised", "bored", "other"),
)
# Clips per label of the complete corpora, in the order of their labels.
COUNTS = {
    "cremad": {"neutral": 1086, "happy": 1270, "sad": 1270, "angry": 1270, "fearful": 1270, "disgust": 1270},
    "emodb": {"neutral": 79, "happy": 71, "sad": 62, "angry": 127, "fearful": 69, "disgust": 46, "bored": 81},
    "emovo": dict.fromkeys(emovo.LABELS, 84),
    "esd": dict.fromkeys(esd.LABELS, 7000),
    "nemo": {"neutral": 809, "happy": 749, "sad": 769, "angry": 749, "fearful": 736, "surprised": 669},
    "savee": dict.fromkeys(savee.LABELS, 60) | {"neutral": 120},
    "shemo": {"neutral": 1028, "happy": 201, "sad": 449, "angry": 1059, "fearful": 38, "surprised": 225},
    "tess": dict.fromkeys(tess.LABELS, 400),
    "urdu": dict.fromkeys(urdu.LABELS, 100),
}
SPLITS = {
    "cremad": ("speaker_groups_5", 5),
    "emodb": ("leave_one_speaker_out", 10),
    "emovo": ("leave_one_speaker_out", 6),
    "esd": ("emobox", 5),
    "nemo": ("leave_one_speaker_out", 9),
    "savee": ("leave_one_speaker_out", 4),
    "shemo": ("speaker_groups_5", 5),
    "tess": ("leave_one_speaker_out", 2),
    "urdu": ("speaker_groups_5", 5),
}
# The test speakers of EmoBox's five splits of ESD.
ESD_SPLITS = {
    1: "0005 0011 0016 0018",
    2: "0012 0014 0015 0019",
    3: "0003 0004 0006 0009",
    4: "0007 0008 0013 0020",
    5: "0001 0002 0010 0017",
}


def touch(root: Path, *names: str) -> Path:
    """Empty files: names are all that is looked at."""
    folders = {Path(name).parent for name in names}
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).touch()
    return root


def shemo_names() -> list[str]:
    """As many clips of each emotion as ShEMO has, dealt out to 31 women and 56 men."""
    speakers = [f"F{i:02d}" for i in range(1, 32)] + [f"M{i:02d}" for i in range(1, 57)]
    letters = {"A": 1059, "F": 38, "H": 201, "N": 1028, "S": 449, "W": 225}
    return [
        f"{'female' if speaker[0] == 'F' else 'male'}/{speaker}{letter}{i // len(speakers) + 1:02d}.wav"
        for letter, count in letters.items()
        for i in range(count)
        for speaker in [speakers[i % len(speakers)]]
    ]


def esd_names() -> list[str]:
    return [f"{speaker:04d}/x/{speaker:04d}_{number:06d}.wav" for speaker in range(1, 21) for number in range(1, 1751)]


def nemo_names() -> list[str]:
    """As many clips of each emotion as nEMO has, dealt out to its speakers sentence by sentence."""
    takes = [(speaker, sentence) for sentence in range(1, 91) for speaker in nemo.GENDERS]
    counts = {emotion: COUNTS["nemo"][label] for emotion, label in nemo.EMOTIONS.items()}
    return [f"samples/{s}_{emotion}_{n}.wav" for emotion, count in counts.items() for s, n in takes[:count]]


def complete_names(corpus: str) -> list[str]:
    return {"esd": esd_names, "nemo": nemo_names, "shemo": shemo_names}.get(corpus, lambda: list(checksums.known(corpus)))()


@pytest.fixture
def load_named(monkeypatch):
    """Loads a corpus of many files, which are named without being made."""

    def load(corpus: str, names, *options: str) -> Corpus:
        monkeypatch.setattr(files, "require_directory", lambda data_dir, corpus: None)
        monkeypatch.setattr(files, "find_audio", lambda data_dir: iter(names))
        return MODULES[corpus].load(".", frozenset(options))

    return load


@pytest.fixture
def complete(request, load_named) -> Corpus:
    """The complete corpus of the name asked for."""
    return load_named(request.param, complete_names(request.param))


every_corpus = pytest.mark.parametrize("complete", MODULES, indirect=True)


# Complete corpora.


@every_corpus
def test_a_complete_corpus_has_its_clips_labels_and_speakers(complete):
    module = MODULES[complete.name]
    assert label_counts(complete) == COUNTS[complete.name]
    assert tuple(COUNTS[complete.name]) == module.LABELS
    assert len(complete.speakers) == module.GRAMMAR.num_speakers
    assert len({u.utterance_id for u in complete.utterances}) == len(complete.utterances)
    assert all(not u.session and u.span is None for u in complete.utterances)


@every_corpus
def test_a_complete_corpus_gives_no_warning_of_its_size(complete):
    # Only CREMA-D tells of something, the contradicting labels.
    assert [w for w in complete.warnings if not w.startswith("6 clips of 'cremad' are left out because")] == []
    assert len(complete.warnings) == (complete.name == "cremad")


@every_corpus
def test_labels_are_of_the_common_vocabulary_in_its_order(complete):
    assert complete.labels == tuple(label for label in VOCABULARY if label in complete.labels)


@every_corpus
def test_the_default_splits_hold_each_speaker_out_once(complete):
    name, protocol = find_protocol(complete)
    assert (name, len(protocol.splits)) == SPLITS[complete.name] and protocol.shared == ()
    held_out = []
    for number in range(1, len(protocol.splits) + 1):
        split = make_split(complete, number=number)
        train, test = ({complete.utterances[i].speaker for i in part} for part in (split.train, split.test))
        # TESS trains on one speaker, who then validates too.
        assert not test & (train | set(split.validation_speakers))
        assert len({*split.train, *split.validation, *split.test}) == len(complete.utterances)
        held_out += split.test_speakers
    assert sorted(held_out) == list(complete.speakers)


def test_the_splits_of_esd_are_those_of_emobox(load_named):
    corpus = load_named("esd", esd_names())
    for number, speakers in ESD_SPLITS.items():
        split = make_split(corpus, "emobox", number)
        assert " ".join(split.test_speakers) == speakers and len(split.test) == 7000


# Names.


@pytest.mark.parametrize(
    ("corpus", "file", "utterance_id", "label", "speaker", "attributes"),
    [
        ("emodb", "wav/03a01Aa.wav", "03a01Aa", "fearful", "03", {"text": "a01", "gender": "male"}),
        ("emodb", "16b10Eb.wav", "16b10Eb", "disgust", "16", {"text": "b10", "gender": "female"}),
        ("emodb", "08a02Fe.wav", "08a02Fe", "happy", "08", {"text": "a02", "gender": "female"}),
        ("emodb", "09a02Wb.wav", "09a02Wb", "angry", "09", {"text": "a02", "gender": "female"}),
        ("emodb", "10a02La.wav", "10a02La", "bored", "10", {"text": "a02", "gender": "male"}),
        ("emodb", "13a02Ta.wav", "13a02Ta", "sad", "13", {"text": "a02", "gender": "female"}),
        ("emodb", "15a02Na.wav", "15a02Na", "neutral", "15", {"text": "a02", "gender": "male"}),
        ("cremad", "AudioWAV/1001_DFA_ANG_XX.wav", *("1001_DFA_ANG_XX", "angry", "1001", "DFA unspecified")),
        ("cremad", "1040_ITH_SAD_X.wav", "1040_ITH_SAD_XX", "sad", "1040", "ITH unspecified"),
        ("cremad", "1091_WSI_DIS_LO.wav", "1091_WSI_DIS_LO", "disgust", "1091", "WSI low"),
        ("cremad", "1050_IEO_FEA_MD.wav", "1050_IEO_FEA_MD", "fearful", "1050", "IEO medium"),
        ("cremad", "1050_IEO_HAP_HI.wav", "1050_IEO_HAP_HI", "happy", "1050", "IEO high"),
        ("cremad", "1050_IEO_NEU_XX.wav", "1050_IEO_NEU_XX", "neutral", "1050", "IEO unspecified"),
        ("cremad", "1050_IEO_SAD_XX.wav", "1050_IEO_SAD_XX", "sad", "1050", "IEO unspecified"),
        ("savee", "AudioData/DC/a01.wav", "DC_a01", "angry", "DC", {"gender": "male"}),
        ("savee", "ALL/JE_d15.wav", "JE_d15", "disgust", "JE", {"gender": "male"}),
        ("savee", "JK/f09.wav", "JK_f09", "fearful", "JK", {"gender": "male"}),
        ("savee", "KL_h02.wav", "KL_h02", "happy", "KL", {"gender": "male"}),
        ("savee", "AudioData/KL/n30.wav", "KL_n30", "neutral", "KL", {"gender": "male"}),
        ("savee", "AudioData/KL/sa07.wav", "KL_sa07", "sad", "KL", {"gender": "male"}),
        ("savee", "KL_su07.wav", "KL_su07", "surprised", "KL", {"gender": "male"}),
        ("tess", "OAF_Fear/OAF_back_fear.wav", "OAF_back_fear", "fearful", "OAF", "back"),
        ("tess", "YAF_pleasant_surprised/YAF_dog_ps.wav", "YAF_dog_ps", "surprised", "YAF", "dog"),
        ("tess", "OAF_neutral/OA_bite_neutral.wav", "OAF_bite_neutral", "neutral", "OAF", "bite"),
        # The folder says something else.
        ("tess", "OAF_Sad/YAF_dog_Angry.wav", "YAF_dog_angry", "angry", "YAF", "dog"),
        ("tess", "YAF_dog_disgust.wav", "YAF_dog_disgust", "disgust", "YAF", "dog"),
        ("tess", "YAF_dog_HAPPY.wav", "YAF_dog_happy", "happy", "YAF", "dog"),
        ("tess", "YAF_dog_sad.wav", "YAF_dog_sad", "sad", "YAF", "dog"),
        ("emovo", "f1/dis-f1-b1.wav", "dis-f1-b1", "disgust", "f1", {"sentence": "b1", "gender": "female"}),
        ("emovo", "m3/gio-m3-n5.wav", "gio-m3-n5", "happy", "m3", {"sentence": "n5", "gender": "male"}),
        ("emovo", "neu-m2-l4.wav", "neu-m2-l4", "neutral", "m2", {"sentence": "l4", "gender": "male"}),
        ("emovo", "pau-m2-d2.wav", "pau-m2-d2", "fearful", "m2", {"sentence": "d2", "gender": "male"}),
        ("emovo", "rab-m2-d2.wav", "rab-m2-d2", "angry", "m2", {"sentence": "d2", "gender": "male"}),
        ("emovo", "sor-m2-d2.wav", "sor-m2-d2", "surprised", "m2", {"sentence": "d2", "gender": "male"}),
        ("emovo", "tri-f2-d2.wav", "tri-f2-d2", "sad", "f2", {"sentence": "d2", "gender": "female"}),
        ("nemo", "samples/MP0_sadness_51.wav", "MP0_sadness_51", "sad", "MP0", {"sentence": "51", "gender": "male"}),
        ("nemo", "EB0_surprised_9.wav", "EB0_surprised_9", "surprised", "EB0", {"sentence": "9", "gender": "female"}),
        # F in the middle is the file's.
        ("urdu", "Angry/SM1_F10_A010.wav", "SM1_F10_A010", "angry", "SM1", {"gender": "male"}),
        ("urdu", "Sad/SF11_F2_S02.wav", "SF11_F2_S02", "sad", "SF11", {"gender": "female"}),
        ("urdu", "SM2_F1_H01.wav", "SM2_F1_H01", "happy", "SM2", {"gender": "male"}),
        ("urdu", "SM2_F1_N01.wav", "SM2_F1_N01", "neutral", "SM2", {"gender": "male"}),
        ("esd", "0001/Neutral/0001_000001.wav", "0001_000001", "neutral", "0001", "mandarin 1"),
        ("esd", "0010/train/Neutral/0010_000350.wav", "0010_000350", "neutral", "0010", "mandarin 350"),
        ("esd", "0011/Angry/evaluation/0011_000351.wav", "0011_000351", "angry", "0011", "english 1"),
        ("esd", "0011/0011_000700.wav", "0011_000700", "angry", "0011", "english 350"),
        ("esd", "0020/Happy/test/0020_000701.wav", "0020_000701", "happy", "0020", "english 1"),
        ("esd", "0020/x/0020_001400.wav", "0020_001400", "sad", "0020", "english 350"),
        ("esd", "0020/x/0020_001750.wav", "0020_001750", "surprised", "0020", "english 350"),
        # The first F is female, the second fear.
        ("shemo", "female/F01F02.wav", "F01F02", "fearful", "F01", {"gender": "female"}),
        ("shemo", "male/M01A99.wav", "M01A99", "angry", "M01", {"gender": "male"}),
        ("shemo", "male/M56W01.wav", "M56W01", "surprised", "M56", {"gender": "male"}),
        ("shemo", "male/M56H01.wav", "M56H01", "happy", "M56", {"gender": "male"}),
        ("shemo", "male/M56N01.wav", "M56N01", "neutral", "M56", {"gender": "male"}),
        ("shemo", "male/M56S01.wav", "M56S01", "sad", "M56", {"gender": "male"}),
    ],
)
def test_a_name_is_parsed(tmp_path, corpus, file, utterance_id, label, speaker, attributes):
    touch(tmp_path, file)
    options = frozenset({"all_816"}) if corpus == "emodb" else frozenset()
    (found,) = MODULES[corpus].load(str(tmp_path), options).utterances
    assert (found.utterance_id, found.label, found.speaker) == (utterance_id, label, speaker)
    assert found.path == str(tmp_path / file)
    if isinstance(attributes, str):
        names = {"cremad": ("sentence", "intensity"), "esd": ("language", "sentence"), "tess": ("word",)}[corpus]
        attributes = dict(zip(names, attributes.split(), strict=True))
        attributes |= {"gender": "female"} if corpus == "tess" else {}
    assert found.attributes == attributes


@pytest.mark.parametrize(
    ("corpus", "good", "bad"),
    [
        ("emodb", "03a01Fa", "03a01Xa 04a01Fa 03c01Fa 3a01Fa 03a01F x03a01Fa 03a01Faa 03a01fa"),
        ("cremad", "1001_DFA_ANG_XX", "1000_DFA_ANG_XX 1092_DFA_ANG_XX 1001_DFA_BOR_XX 1001_DFA_ANG_YY 1001_DFA_ANG"),
        ("savee", "DC_a01", "DC_s01 DC_su1 XY_a01 a01 XDC_a01 DC_x01 DC_aa01 DC/a001 DC-a01"),
        ("tess", "OAF_back_fear", "OAF_back_surprise XAF_back_fear OAF_fear OAF__fear YAF_back_fear2 OAFF_back_fear"),
        ("emovo", "dis-f1-b1", "dis-f4-b1 xxx-f1-b1 dis-f1-b4 dis-f1-l5 dis-f1-n6 dis-f1-d3 dis-f1 dis-x1-b1"),
        ("nemo", "EB0_fear_30", "EB1_fear_30 EB0_fearful_30 EB0_fear_0 EB0_fear_91 EB0_fear_030 EB0_fear xEB0_fear_30"),
        ("urdu", "SM1_F1_A01", "SX1_F1_A01 SM1_M1_A01 SM1_F1_B01 SM_F1_A01 M1_F1_A01 SM1_F1_A"),
        ("esd", "0001_000001", "0000_000001 0021_000001 0001_000000 0001_001751 0001_001800 0001_010000 0001_00001"),
        ("shemo", "F01A01", "X01A01 F1A01 F01B01 F01A1 F01A001 xF01A01"),
    ],
)
def test_other_names_are_left_out_with_a_warning(tmp_path, corpus, good, bad):
    bad = bad.split()
    touch(tmp_path, f"{good}.wav", *(f"{name}.wav" for name in bad))
    found = MODULES[corpus].load(str(tmp_path))
    assert [u.utterance_id for u in found.utterances] == [good]
    assert any(warning.startswith(f"{len(bad)} audio files") for warning in found.warnings)


def test_hidden_copies_and_other_kinds_of_files_are_no_clips(tmp_path):
    touch(tmp_path, "wav/03a01Fa.wav", "wav/._03a01Fa.wav", "lablaut/03a01Fa.lablaut", "readme.txt")
    found = emodb.load(str(tmp_path))
    assert len(found.utterances) == 1 and not any("not named like" in warning for warning in found.warnings)


# Copies that are not as published.


@pytest.mark.parametrize("corpus", MODULES)
def test_no_corpus_is_taken_for_another(tmp_path, corpus):
    for name, module in MODULES.items():
        if name != corpus:
            touch(tmp_path, module.GRAMMAR.example.split()[0])
    others = len(MODULES) - 1
    with pytest.raises(DatasetError, match=rf"^There is no clip of '{corpus}' \(such as .*\) below {tmp_path} .*\.$"):
        MODULES[corpus].load(str(tmp_path))
    touch(tmp_path, MODULES[corpus].GRAMMAR.example.split()[0])
    found = MODULES[corpus].load(str(tmp_path))
    assert len(found.utterances) == 1
    assert found.warnings[0].startswith(f"{others} audio files below the directory are not named")


@pytest.mark.parametrize("corpus", MODULES)
def test_an_empty_and_a_missing_directory_are_refused(tmp_path, corpus):
    with pytest.raises(DatasetError, match=f"^There is no clip of '{corpus}'"):
        MODULES[corpus].load(str(tmp_path))
    with pytest.raises(DatasetError, match=f"^There is no directory .*none, from which corpus '{corpus}'"):
        MODULES[corpus].load(str(tmp_path / "none"))
    with pytest.raises(DatasetError, match=f"^Corpus '{corpus}' needs --data_dir"):
        MODULES[corpus].load("")


@pytest.mark.parametrize("corpus", MODULES)
def test_a_half_extracted_archive_is_counted(tmp_path, corpus):
    grammar = MODULES[corpus].GRAMMAR
    touch(tmp_path, grammar.example.split()[0])
    warning = f"'{corpus}' has {grammar.num_clips} clips of {grammar.num_speakers} speakers; found: 1 of 1."
    assert warning in MODULES[corpus].load(str(tmp_path)).warnings


def test_a_copy_of_savee_in_both_forms_has_each_clip_once(load_named):
    names = complete_names("savee")
    both = [*(f"ALL/{name.replace('/', '_')}" for name in names), *(f"AudioData/{name}" for name in names)]
    found = load_named("savee", both)
    assert all(u.path.startswith("ALL/") for u in found.utterances)
    assert found.fingerprint() == load_named("savee", names).fingerprint()
    assert len(found.warnings) == 1 and found.warnings[0].startswith("480 files of 'savee' have the same name as another")


def test_the_folders_of_esd_do_not_matter(load_named):
    plain = load_named("esd", [f"0001/Angry/0001_{i:06d}.wav" for i in range(1, 701)])
    parts = ("train", "test", "evaluation")
    nested = load_named("esd", [f"0001/生气/{parts[i % 3]}/0001_{i:06d}.wav" for i in range(1, 701)])
    assert nested.fingerprint() == plain.fingerprint()
    assert Counter(u.label for u in nested.utterances) == {"neutral": 350, "angry": 350}


# EmoDB's two editions.


def second_edition() -> list[str]:
    """816 names: the 535 and 281 others of the same grammar."""
    names = complete_names("emodb")
    spare = [f"03{text}{emotion}{version}.wav" for text in ("a01", "b10") for emotion in "WLEAFTN" for version in LETTERS]
    further = sorted(set(spare) - set(names))[:281]
    return [*names, *further]


def test_emodb_2_is_filtered_to_the_535(load_named):
    found = load_named("emodb", second_edition())
    assert found.fingerprint() == load_named("emodb", complete_names("emodb")).fingerprint()
    assert found.warnings[0] == "'emodb' has 535 clips of 10 speakers; found: 816 of 10."
    assert found.warnings[1].startswith("281 clips are not among EmoDB's 535 (as in EmoDB 2.0) and are left out (03a01")
    assert found.warnings[1].endswith("the option all_816 keeps them.") and len(found.warnings) == 2


def test_emodb_2_is_kept_whole_by_the_option(load_named):
    assert set(emodb.OPTIONS) == {"all_816"}
    found = load_named("emodb", second_edition(), "all_816")
    assert len(found.utterances) == 816
    assert found.warnings == ("281 clips are not among EmoDB's 535: results are not comparable with published ones.",)


def test_emodb_2_asked_for_but_not_there(load_named):
    found = load_named("emodb", complete_names("emodb"), "all_816")
    assert found.warnings == ("'emodb' has 816 clips of 10 speakers; found: 535 of 10.",)


@pytest.mark.parametrize("options", [(), ("all_816",)])
def test_missing_clips_of_the_535_are_named_among_further_ones(load_named, options):
    warnings = load_named("emodb", [name for name in second_edition() if name != "03a01Fa.wav"], *options).warnings
    assert "1 of the 535 clips of 'emodb' are missing (03a01Fa)." in warnings


# CREMA-D's contradicting labels.


def test_identical_recordings_with_different_labels_are_left_out_in_pairs(load_named):
    found = load_named("cremad", complete_names("cremad"))
    kept = {u.utterance_id for u in found.utterances}
    assert len(kept) == 7436 and not kept & set(cremad.CONTRADICTING)
    assert "1006_TIE_HAP_XX, 1006_TIE_NEU_XX, 1013_WSI_DIS_XX ..." in found.warnings[0]


def test_identical_recordings_are_those_of_equal_digest():
    digests = checksums.known("cremad")
    counts = Counter(digests.values())
    assert sorted(name for name in digests if counts[digests[name]] > 1) == [f"{name}.wav" for name in cremad.CONTRADICTING]


def test_the_option_keeps_contradicting_labels(load_named):
    assert set(cremad.OPTIONS) == {"contradicting_duplicates"}
    found = load_named("cremad", complete_names("cremad"), "contradicting_duplicates")
    assert len(found.utterances) == 7442 and found.warnings == ()
    assert label_counts(found) == dict.fromkeys(cremad.LABELS, 1271) | {"neutral": 1087}


def test_half_of_a_contradicting_pair_is_left_out_too(tmp_path):
    touch(tmp_path, "1006_TIE_HAP_XX.wav", "1006_TIE_SAD_XX.wav")
    found = cremad.load(str(tmp_path))
    assert [u.utterance_id for u in found.utterances] == ["1006_TIE_SAD_XX"]
    assert found.warnings[-1].startswith("1 clips of 'cremad' are left out")


# ShEMO's two editions.


def test_the_revised_shemo_is_told_from_the_original(load_named):
    first, second = load_named("shemo", shemo_names()[:2838]).warnings
    assert first.startswith("'shemo' has 3000 clips of 87 speakers; found: 2838 of")
    assert second.startswith("This is the revised 'shemo' with 2838 clips")


def test_an_incomplete_shemo_is_not_taken_for_the_revised_one(load_named):
    assert len(load_named("shemo", shemo_names()[:2837]).warnings) == 1


def test_men_and_women_of_one_number_are_two_speakers(tmp_path):
    touch(tmp_path, "female/F01A01.wav", "male/M01A01.wav")
    assert shemo.load(str(tmp_path)).speakers == ("F01", "M01")
