"""The common form of all corpora: utterances with labels, speakers and sessions, and protocols to split them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Utterance:
    """One labelled clip.

    `path` is its audio file, `span` the part of it in seconds (begin, end), None: all. `session` names the recording that
    several clips were cut from (a dialogue, an interview), empty if there is none. `attributes` hold further information of
    the corpus.
    """

    utterance_id: str
    path: str
    label: str
    speaker: str
    session: str = ""
    span: tuple[float, float] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def group(self, kind: str) -> str:
        """The value of one kind of group: "speaker", "session", "utterance_id", or an attribute's name."""
        return getattr(self, kind) if kind in ("speaker", "session", "utterance_id") else self.attributes.get(kind, "")


@dataclass(frozen=True)
class HeldOut:
    """The test groups of one split and, if the protocol defines them, its validation groups."""

    test: tuple[str, ...]
    validation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """How a corpus is split: each split holds out groups of one kind (see `Utterance.group`).

    `shared` names what training and test part may share by definition of the protocol: "speaker", "session", or both;
    anything else that they share is a leak.
    """

    kind: str
    splits: tuple[HeldOut, ...]
    shared: tuple[str, ...] = ()


def speakers_held_out(groups) -> Protocol:
    """The protocol in which each split holds out one of these groups of speakers."""
    return Protocol("speaker", tuple(HeldOut(tuple(group)) for group in groups))


@dataclass(frozen=True)
class Corpus:
    """Utterances in a fixed order, the label names in the order of their indices, and the published protocols by name.

    The first protocol is the default; more can be computed for any corpus (`protocols.find_protocol`). `warnings` are
    sentences on how the files differ from the published corpus, `notes` on how they were read. `decision` is the unit of a
    decision: each "utterance", or each "speaker" from all of the speaker's utterances.
    """

    name: str
    labels: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    decision: str = "utterance"
    notes: tuple[str, ...] = ()

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(sorted({u.speaker for u in self.utterances}))

    def fingerprint(self) -> str:
        """A hash of every utterance's name, label and speaker, in order."""
        text = "\n".join(f"{u.utterance_id}\t{u.label}\t{u.speaker}" for u in self.utterances)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:20]


def label_counts(corpus: Corpus, indices=None) -> dict[str, int]:
    """Clips per label, in label order, over `indices` or the whole corpus."""
    chosen = corpus.utterances if indices is None else [corpus.utterances[i] for i in indices]
    counts = Counter(u.label for u in chosen)
    return {label: counts[label] for label in corpus.labels}
