"""Label sets that all corpora can be mapped to, for training and testing across corpora."""

from __future__ import annotations

import dataclasses

import numpy as np

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance
from kser.errors import DatasetError

# Each set maps the corpora's labels (named alike in all loaders) to its own; clips with other labels are left out.
LABEL_SETS = {
    "4class": {"angry": "angry", "happy": "happy", "excited": "happy", "neutral": "neutral", "sad": "sad"},
    "5class": {
        "angry": "angry",
        "happy": "happy",
        "excited": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "surprised": "surprised",
    },
    "6class": {
        "angry": "angry",
        "disgust": "disgust",
        "fearful": "fearful",
        "happy": "happy",
        "excited": "happy",
        "neutral": "neutral",
        "sad": "sad",
    },
    # High and low arousal, by the circumplex of Russell (1980).
    "arousal": {
        "angry": "high",
        "happy": "high",
        "excited": "high",
        "fearful": "high",
        "surprised": "high",
        "neutral": "low",
        "calm": "low",
        "sad": "low",
        "bored": "low",
    },
}


# What users' own corpora call them; any case.
SYNONYMS = {
    **dict.fromkeys(("anger", "ang", "furious"), "angry"),
    **dict.fromkeys(("happiness", "joy", "joyful", "hap"), "happy"),
    **dict.fromkeys(("sadness", "sorrow"), "sad"),
    **dict.fromkeys(("fear", "afraid", "anxious", "anxiety"), "fearful"),
    **dict.fromkeys(("surprise", "pleasant_surprise", "pleasant surprise"), "surprised"),
    **dict.fromkeys(("disgusted",), "disgust"),
    **dict.fromkeys(("calmness", "relaxed"), "calm"),
    **dict.fromkeys(("boredom",), "bored"),
    **dict.fromkeys(("excitement",), "excited"),
    **dict.fromkeys(("frustration",), "frustrated"),
    **dict.fromkeys(("neutrality", "neu"), "neutral"),
}


def common_name(label: str) -> str:
    """The name that the published corpora's loaders have for a label: "angry" for "Anger"."""
    name = label.strip().lower()
    return SYNONYMS.get(name, name)


def map_labels(corpus: Corpus, label_set: str) -> Corpus:
    """The corpus with its labels, or usual synonyms of them, mapped to a set; others are left out, with a warning.

    Raises:
      DatasetError: no such set, or the corpus has no clip for one of its labels.
    """
    if label_set not in LABEL_SETS:
        raise DatasetError(f"There is no label set '{label_set}'; known: {', '.join(LABEL_SETS)}.")
    mapping = _mapping(corpus, label_set)
    kept = tuple(dataclasses.replace(u, label=mapping[u.label]) for u in corpus.utterances if u.label in mapping)
    labels = tuple(dict.fromkeys(LABEL_SETS[label_set].values()))
    missing = [label for label in labels if label not in {u.label for u in kept}]
    if missing:
        raise DatasetError(
            f"Corpus '{corpus.name}' has no clip for {', '.join(missing)} of the label set '{label_set}'; its labels are "
            f"{', '.join(corpus.labels)}."
        )
    dropped = sorted({u.label for u in corpus.utterances} - set(mapping))
    warnings = corpus.warnings
    if dropped:
        left_out = len(corpus.utterances) - len(kept)
        warnings += (f"{left_out} clips of '{corpus.name}' are left out: '{label_set}' has no {', '.join(dropped)}.",)
    return dataclasses.replace(corpus, labels=labels, utterances=kept, warnings=warnings)


def _mapping(corpus: Corpus, label_set: str) -> dict[str, str]:
    """From the corpus' own names of labels to the set's."""
    known = LABEL_SETS[label_set]
    return {u.label: known[common_name(u.label)] for u in corpus.utterances if common_name(u.label) in known}


def shuffle_labels(corpus: Corpus, seed: int) -> Corpus:
    """The corpus with randomly shuffled labels: a score above chance then means that the test part leaks.

    If decisions are made per speaker, all clips of a speaker get the same label.
    """
    unit = "speaker" if corpus.decision == "speaker" else "utterance_id"
    label_of = {u.group(unit): u.label for u in corpus.utterances}
    order = np.random.default_rng(seed).permutation(len(label_of))
    dealt = dict(zip(label_of, np.array(list(label_of.values()))[order].tolist(), strict=True))
    utterances = tuple(dataclasses.replace(u, label=dealt[u.group(unit)]) for u in corpus.utterances)
    warning = f"The labels of '{corpus.name}' were shuffled: a score above chance means an error in the protocol."
    return dataclasses.replace(corpus, utterances=utterances, warnings=(*corpus.warnings, warning))


def train_here_test_there(here: Corpus, there: Corpus) -> Corpus:
    """Both corpora as one, whose only split tests on all of `there`; names and speakers of the two stay distinct.

    Raises:
      DatasetError: they have different labels, or different units of decision.
    """
    if here.decision != there.decision:
        raise DatasetError(
            f"'{here.name}' decides per {here.decision}, '{there.name}' per {there.decision}; "
            "choose a corpus with the same unit of decision."
        )
    if set(here.labels) != set(there.labels):
        raise DatasetError(
            f"'{here.name}' has the labels {', '.join(here.labels)}, '{there.name}' has {', '.join(there.labels)}; "
            "map both to a common --label_set (" + ", ".join(LABEL_SETS) + ")."
        )
    # Two folders of a user's own are two corpora, whatever their speakers are called; a published corpus is always itself.
    names = ("folder-train", "folder-test") if here.name == there.name == "folder" else (here.name, there.name)
    both = [_in_name_of(*which) for which in zip((here, there), names, ("train", "test"), strict=True)]
    protocols = {"cross_corpus": Protocol("corpus_part", (HeldOut(("test",)),))}
    utterances = (*both[0], *both[1])
    return Corpus(
        "+".join(names), here.labels, utterances, protocols, here.warnings + there.warnings, here.decision
    )


def _in_name_of(corpus: Corpus, name: str, part: str) -> list[Utterance]:
    return [
        dataclasses.replace(
            u,
            utterance_id=f"{name}/{u.utterance_id}",
            speaker=f"{name}/{u.speaker}",
            session=u.session and f"{name}/{u.session}",
            attributes={**u.attributes, "corpus_part": part},
        )
        for u in corpus.utterances
    ]
