"""Splits: from the held-out groups of a protocol to indices of training, validation and test part, and the leak check."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kser.datasets.corpus import Corpus, HeldOut, Protocol, speakers_held_out
from kser.errors import DatasetError, KserWarning

VALIDATION_SHARE = 0.15
# A corpus with more speakers is by default split into groups of speakers, not speaker by speaker.
MAX_LEFT_OUT_SINGLY = 12
DEFAULT_GROUPS = 5
COMPUTED = "leave_one_speaker_out, speaker_groups_K, speakers_shared_K (K splits)"
MAX_NAMED = 3


@dataclass(frozen=True)
class Split:
    """Indices into `corpus.utterances`, each in at most one part, and the speakers of validation and test part."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]


def find_protocol(corpus: Corpus, name: str = "") -> tuple[str, Protocol]:
    """The protocol `name` and its name; empty: the corpus' first published one, or a computed one.

    Besides its own, every corpus has `leave_one_speaker_out`; `speaker_groups_K`, K groups of speakers with about the same
    number of clips; `speakers_shared_K`, K stratified random parts *with the same speakers in training and test*, for
    comparison with papers that did so.

    Raises:
      DatasetError: there is no such protocol, or the corpus has too few speakers for it.
    """
    name = name or _default_name(corpus)
    if name in corpus.protocols:
        return name, corpus.protocols[name]
    if name == "leave_one_speaker_out":
        return name, _held_out_groups(corpus, [(s,) for s in corpus.speakers], len(corpus.speakers))
    if match := re.fullmatch("speaker_groups_([0-9]{1,4})", name):
        return name, _held_out_groups(corpus, _who_meet(corpus), int(match[1]))
    if match := re.fullmatch("speakers_shared_([0-9]{1,4})", name):
        return name, _shared_speakers(corpus, int(match[1]))
    known = ", ".join([*corpus.protocols, COMPUTED])
    raise DatasetError(f"Corpus '{corpus.name}' has no protocol '{name}'; known: {known}.")


def _default_name(corpus: Corpus) -> str:
    if corpus.protocols:
        return next(iter(corpus.protocols))
    singly = len(corpus.speakers) <= MAX_LEFT_OUT_SINGLY
    return "leave_one_speaker_out" if singly else f"speaker_groups_{DEFAULT_GROUPS}"


def _who_meet(corpus: Corpus) -> list[tuple[str, ...]]:
    """Speakers grouped so that those who share a session, directly or through others, are together, to avoid a leak."""
    company = {speaker: {speaker} for speaker in corpus.speakers}
    first_of = {}
    for utterance in corpus.utterances:
        if utterance.session:
            met = company[first_of.setdefault(utterance.session, utterance.speaker)]
            if met is not company[utterance.speaker]:
                met |= company[utterance.speaker]
                company.update(dict.fromkeys(company[utterance.speaker], met))
    return sorted({tuple(sorted(speakers)) for speakers in company.values()})


def _held_out_groups(corpus: Corpus, units: list[tuple[str, ...]], num_groups: int) -> Protocol:
    """Assigns units of speakers, largest first, each to the group with the fewest clips so far."""
    if not 2 <= num_groups <= len(units):
        inseparable = (
            "" if len(units) == len(corpus.speakers) else f", {len(units)} if those who share a session are kept together"
        )
        raise DatasetError(
            f"Corpus '{corpus.name}' has {len(corpus.speakers)} speakers{inseparable}: they make no {num_groups} groups to "
            "hold out in turn. A corpus whose speakers are not known can only be split by --protocol=speakers_shared_5, "
            "which says nothing about new speakers."
        )
    counts = Counter((u.speaker, u.label) for u in corpus.utterances)
    clips = {unit: np.array([sum(counts[s, label] for s in unit) for label in corpus.labels]) for unit in units}
    order = sorted(units, key=lambda unit: (-clips[unit].sum(), unit))
    groups = _dealt(order, clips, num_groups, lambda held, own: held.sum())
    if _labels_missing(groups, clips):
        # Each where its labels are fewest.
        share = 1 / np.maximum(1, sum(clips.values()))
        balanced = _dealt(order, clips, num_groups, lambda held, own: (held * own * share).sum())
        if _labels_missing(balanced, clips) < _labels_missing(groups, clips):
            groups = balanced
    return speakers_held_out(sorted(tuple(sorted(s for unit in group for s in unit)) for group in groups))


def _dealt(order: list[tuple[str, ...]], clips: Mapping, num_groups: int, cost: Callable) -> list[list[tuple[str, ...]]]:
    """Units of speakers, each given to the group where it costs least, to an empty one first.

    Args:
      clips: of each unit, its number of clips by label.
      cost: of the clips by label that a group has, and those that it would get.
    """
    groups, held = [[] for _ in range(num_groups)], np.zeros((num_groups, len(next(iter(clips.values())))))
    for unit in order:
        costs = [(bool(group), cost(sums, clips[unit])) for group, sums in zip(groups, held, strict=True)]
        place = costs.index(min(costs))
        groups[place].append(unit)
        held[place] += clips[unit]
    return groups


def _labels_missing(groups: list[list[tuple[str, ...]]], clips: Mapping) -> int:
    """How many labels, over all groups, a group has no clip of."""
    return sum(int((sum(clips[unit] for unit in group) == 0).sum()) for group in groups)


def _shared_speakers(corpus: Corpus, num_parts: int) -> Protocol:
    """Distributes the clips of each label, shuffled, evenly over the parts; independent of the order of the files."""
    if not 2 <= num_parts <= len(corpus.utterances):
        raise DatasetError(
            f"speakers_shared_{num_parts} does not split the {len(corpus.utterances)} clips of '{corpus.name}': there must "
            "be two parts at least and a clip for each."
        )
    names = defaultdict(list)
    for utterance in corpus.utterances:
        names[utterance.label].append(utterance.utterance_id)
    # One generator for all labels: clips have similar names in each, and the same sentences would go to the same part.
    rng = np.random.default_rng(0)
    dealt = [str(name) for label in corpus.labels for name in rng.permutation(sorted(names[label]))]
    parts = [dealt[i::num_parts] for i in range(num_parts)]
    return Protocol("utterance_id", tuple(HeldOut(tuple(part)) for part in parts), shared=("speaker", "session"))


def make_split(
    corpus: Corpus, protocol: str = "", number: int = 1, num_validation_speakers: int = 0, seed: int = 0
) -> Split:
    """Split `number` (from 1) of a protocol.

    If the protocol defines no validation groups, validation speakers are drawn from the training part at random by `seed`,
    15 % of its speakers for `num_validation_speakers` 0. If training has a single speaker, or the protocol shares speakers
    anyway, the validation part is 15 % of the training clips of every label.

    Raises:
      DatasetError: no such protocol or split, too few speakers, or a label that no training clip has.
    """
    name, found = find_protocol(corpus, protocol)
    if not 1 <= number <= len(found.splits):
        raise DatasetError(f"Protocol '{name}' of '{corpus.name}' has splits 1 to {len(found.splits)}, not {number}.")
    held_out = found.splits[number - 1]
    where = f"Split {number} of '{corpus.name}' by {name}"
    parts = _parts(corpus, found.kind, held_out)
    if not held_out.validation:
        rng = np.random.default_rng([seed, number])
        shared = "speaker" in found.shared
        parts["validation"] = _drawn_validation(corpus, parts["train"], num_validation_speakers, rng, shared, where)
        taken = set(parts["validation"])
        parts["train"] = [i for i in parts["train"] if i not in taken]
    _check_parts(corpus, where, parts)
    speakers = {part: tuple(sorted({corpus.utterances[i].speaker for i in parts[part]})) for part in parts}
    indices = (tuple(parts[part]) for part in ("train", "validation", "test"))
    return Split(*indices, speakers["validation"], speakers["test"])


def without_validation(split: Split) -> Split:
    """The split with the validation part merged into the training part: more training speakers, no validation."""
    train = tuple(sorted((*split.train, *split.validation)))
    return dataclasses.replace(split, train=train, validation=(), validation_speakers=())


def _parts(corpus: Corpus, kind: str, held_out: HeldOut) -> dict[str, list[int]]:
    part_of = dict.fromkeys(held_out.validation, "validation") | dict.fromkeys(held_out.test, "test")
    parts = {"train": [], "validation": [], "test": []}
    for index, utterance in enumerate(corpus.utterances):
        parts[part_of.get(utterance.group(kind), "train")].append(index)
    return parts


def _drawn_validation(corpus: Corpus, train: list[int], count: int, rng, shared: bool, where: str) -> list[int]:
    speakers = sorted({corpus.utterances[i].speaker for i in train})
    if shared or len(speakers) == 1:
        return _share_of_each_label(corpus, train, rng)
    count = count or max(1, round(VALIDATION_SHARE * len(speakers)))
    if count >= len(speakers):
        raise DatasetError(f"{where} has {len(speakers)} training speakers: {count} for validation are too many.")
    order = rng.permutation(len(speakers))
    chosen = {speakers[i] for i in order[:count]}
    return [i for i in train if corpus.utterances[i].speaker in chosen]


def _share_of_each_label(corpus: Corpus, train: list[int], rng) -> list[int]:
    by_label = defaultdict(list)
    for index in sorted(train, key=lambda i: corpus.utterances[i].utterance_id):
        by_label[corpus.utterances[index].label].append(index)
    chosen = []
    for label in corpus.labels:
        indices = by_label[label]
        order = rng.permutation(len(indices))
        chosen += [indices[i] for i in order[: round(VALIDATION_SHARE * len(indices))]]
    return sorted(chosen)


def _check_parts(corpus: Corpus, where: str, parts: Mapping[str, list]) -> None:
    for part, indices in parts.items():
        if not indices:
            raise DatasetError(f"{where} has no clip in its {part} part; is the corpus complete?")
    present = {corpus.utterances[i].label for i in parts["train"]}
    missing = [label for label in corpus.labels if label not in present]
    if missing:
        raise DatasetError(f"{where} has no training clip of the label {', '.join(missing)}; is the corpus complete?")


def tell_repeated_audio(corpus: Corpus, split: Split, digests: Sequence[str]) -> None:
    """Warns of clips that are in the training and the validation part alike, which makes the choice of an epoch less honest.

    Warns:
      KserWarning: how many, and the first pair.
    """
    first_of = {digests[i]: i for i in reversed(split.train)}
    found = [(i, first_of[digests[i]]) for i in split.validation if digests[i] in first_of]
    if found:
        a, b = (corpus.utterances[i].utterance_id for i in found[0])
        warnings.warn(
            f"{len(found)} clips of the validation part of '{corpus.name}' are in its training part too ({a} = {b}): an "
            "epoch chosen on them favours what was learned by heart.",
            KserWarning,
            stacklevel=3,
        )


def check_leaks(corpus: Corpus, split: Split, protocol: Protocol, digests: Sequence[str]) -> None:
    """Refuses a split whose test part leaks into training.

    Speakers and identical audio must not be in both the test part and the training or validation part; sessions not in
    both test and training part. What the protocol shares by definition is not a leak.

    Args:
      digests: a hash of each utterance's audio.

    Raises:
      DatasetError: a leak; it names the first few.
    """
    utterances = corpus.utterances
    known = (*split.train, *split.validation)
    checks = [("the audio of", lambda i: digests[i], known)]
    if "speaker" not in protocol.shared:
        checks.append(("the speaker of", lambda i: utterances[i].speaker, known))
    if "session" not in protocol.shared:
        checks.append(("the session of", lambda i: utterances[i].session, split.train))
    for what, of, others in checks:
        first_of = {}
        for index in others:
            first_of.setdefault(of(index), index)
        found = [(i, first_of[of(i)]) for i in split.test if of(i) and of(i) in first_of]
        if found:
            pairs = ", ".join(f"{utterances[a].utterance_id} = {utterances[b].utterance_id}" for a, b in found[:MAX_NAMED])
            raise DatasetError(
                f"The test part of '{corpus.name}' leaks: {what} {len(found)} of its clips occurs in training too "
                f"({pairs}); remove one of each pair or choose another --protocol."
            )
