"""What a corpus is to the rest of kser: utterances with labels, speakers and sessions, and the protocols it is split by."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Utterance:
    """One labelled clip.

    `path` is its audio file, `span` the seconds (begin, end) of it that are meant, None: all. `session` names what several
    clips were cut from (a dialogue, an interview), empty where each stands alone. `attributes` hold what else the corpus
    tells.
    """

    utterance_id: str
    path: str
    label: str
    speaker: str
    session: str = ""
    span: tuple[float, float] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def group(self, kind: str) -> str:
        """What a protocol may hold out: "speaker", "session", "utterance_id", or an attribute's name."""
        return getattr(self, kind) if kind in ("speaker", "session", "utterance_id") else self.attributes.get(kind, "")


@dataclass(frozen=True)
class HeldOut:
    """The groups that one split tests on and, where the protocol says so, those it validates on."""

    test: tuple[str, ...]
    validation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """How a corpus is split: each split holds out groups of one kind (see `Utterance.group`).

    `shared` names what train and test may have in common by this protocol's definition, of "speaker" and "session";
    everything else in common is a leak.
    """

    kind: str
    splits: tuple[HeldOut, ...]
    shared: tuple[str, ...] = ()


def speakers_held_out(groups) -> Protocol:
    """The protocol whose splits each hold out one of these groups of speakers."""
    return Protocol("speaker", tuple(HeldOut(tuple(group)) for group in groups))


@dataclass(frozen=True)
class Corpus:
    """Utterances in a fixed order, the label names in the order of their indices, and the published protocols by name.

    The first protocol is the default; more can be computed for any corpus (`protocols.find_protocol`). `warnings` say in
    whole sentences how the files found differ from the corpus as published. `decision` is what one decision is made for:
    each "utterance", or each "speaker" from all utterances of his.
    """

    name: str
    labels: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    decision: str = "utterance"

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(sorted({u.speaker for u in self.utterances}))

    def fingerprint(self) -> str:
        """A hash of what is trained on: every utterance's name, label and speaker, in order."""
        text = "\n".join(f"{u.utterance_id}\t{u.label}\t{u.speaker}" for u in self.utterances)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:20]


def label_counts(corpus: Corpus, indices=None) -> dict[str, int]:
    """Clips per label, in label order, over `indices` or the whole corpus."""
    chosen = corpus.utterances if indices is None else [corpus.utterances[i] for i in indices]
    counts = Counter(u.label for u in chosen)
    return {label: counts[label] for label in corpus.labels}
