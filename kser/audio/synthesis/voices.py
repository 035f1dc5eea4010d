"""Speakers, emotions and phones, and random sentences made of them.

An emotion changes level and range of F0, rate, energy, spectral tilt, formants, articulation and voice quality in the
direction these reviews agree on; the sizes are ours. Its strength varies with the speaker and the take.
  K. R. Scherer, Vocal communication of emotion: A review of research paradigms, Speech Communication 40, 2003.
  P. N. Juslin, P. Laukka, Communication of emotions in vocal expression and music performance: Different channels, same
    code?, Psychological Bulletin 129(5), 2003.
  I. R. Murray, J. L. Arnott, Toward the simulation of emotion in synthetic speech: A review of the literature on human
    vocal emotion, J. Acoust. Soc. Am. 93(2), 1993.
Vowels:
  G. E. Peterson, H. L. Barney, Control methods used in a study of the vowels, J. Acoust. Soc. Am. 24(2), 1952.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TRACT_CM = 17.5


@dataclass(frozen=True)
class Speaker:
    """A neutral voice. `jitter` is the standard deviation of a period relative to its length."""

    f0_hz: float
    tract_cm: float
    syllables_per_second: float
    tilt_db_per_octave: float
    open_quotient: float
    breath_db: float
    jitter: float
    shimmer_db: float
    expressiveness: float


@dataclass(frozen=True)
class Emotion:
    """The change from the neutral voice by an emotion at full strength; `rate`, `jitter` ... are relative (0.2: 20 % more).

    `formants` shifts all of them (a smile shortens the tract), `articulation` widens the vowel space, `contour` is the
    rise of F0 over the utterance and `accent_db` the extra loudness of stressed syllables.
    """

    f0_semitones: float = 0.0
    f0_range: float = 0.0
    contour_semitones: float = 0.0
    rate: float = 0.0
    energy_db: float = 0.0
    accent_db: float = 0.0
    tilt_db_per_octave: float = 0.0
    open_quotient: float = 0.0
    breath_db: float = 0.0
    jitter: float = 0.0
    shimmer: float = 0.0
    formants: float = 0.0
    articulation: float = 0.0
    attack_ms: float = 0.0


@dataclass(frozen=True)
class Phone:
    """A phone: formants of a 17.5 cm tract, linear gains of voice and noise, the noise's band, and its share of time."""

    formants_hz: tuple[float, float, float] = (500, 1500, 2500)
    voice: float = 0.0
    noise: float = 0.0
    noise_hz: float = 4000
    noise_width_hz: float = 1500
    weight: float = 1.0


# Odd speakers have low voices and long tracts, even speakers high voices and short tracts.
SPEAKERS = (
    Speaker(108, 17.7, 4.3, -1.0, 0.56, -31, 0.006, 0.35, 1.00),
    Speaker(204, 14.9, 4.5, -1.8, 0.64, -27, 0.008, 0.30, 1.10),
    Speaker(119, 17.0, 4.7, -1.9, 0.60, -28, 0.008, 0.45, 0.95),
    Speaker(217, 14.4, 4.3, -1.2, 0.58, -30, 0.005, 0.25, 1.00),
    Speaker(102, 18.1, 4.2, -1.6, 0.55, -30, 0.007, 0.40, 1.00),
    Speaker(193, 15.3, 4.7, -1.4, 0.64, -27, 0.007, 0.35, 0.95),
    Speaker(127, 16.6, 4.4, -1.1, 0.56, -31, 0.009, 0.30, 1.05),
    Speaker(229, 14.1, 4.6, -1.9, 0.63, -27, 0.006, 0.40, 1.05),
)

EMOTIONS = {
    "neutral": Emotion(),
    "happy": Emotion(
        f0_semitones=5.0, f0_range=0.9, contour_semitones=3.0, rate=0.15, energy_db=5.0, accent_db=1.5,
        tilt_db_per_octave=1.2, breath_db=3.0, formants=0.07, articulation=0.08, attack_ms=-4,
    ),
    "sad": Emotion(
        f0_semitones=-2.5, f0_range=-0.5, contour_semitones=-1.0, rate=-0.22, energy_db=-7.0, accent_db=-1.5,
        tilt_db_per_octave=-3.2, open_quotient=0.12, breath_db=6.0, jitter=0.3, shimmer=0.4, formants=-0.02,
        articulation=-0.25, attack_ms=25,
    ),
    "angry": Emotion(
        f0_semitones=3.0, f0_range=0.6, contour_semitones=0.5, rate=0.20, energy_db=10.0, accent_db=3.0,
        tilt_db_per_octave=3.6, open_quotient=-0.12, breath_db=-3.0, jitter=0.8, shimmer=0.9, articulation=0.15,
        attack_ms=-12,
    ),
}  # fmt: skip
LABELS = tuple(EMOTIONS)

VOWELS = {
    "i": Phone((270, 2290, 3010), voice=0.8),
    "ɪ": Phone((390, 1990, 2550), voice=0.9, weight=0.85),
    "ɛ": Phone((530, 1840, 2480), voice=1.0),
    "æ": Phone((660, 1720, 2410), voice=1.0, weight=1.1),
    "ɑ": Phone((730, 1090, 2440), voice=1.0, weight=1.1),
    "ɔ": Phone((570, 840, 2410), voice=1.0, weight=1.1),
    "ʊ": Phone((440, 1020, 2240), voice=0.9, weight=0.85),
    "u": Phone((300, 870, 2240), voice=0.8),
    "ʌ": Phone((640, 1190, 2390), voice=1.0, weight=0.85),
}

_CLOSURE = Phone((300, 1500, 2500), weight=0.4)
_VOICE_BAR = Phone((250, 1400, 2500), voice=0.15, weight=0.35)
ONSETS = {
    "s": (Phone((320, 1390, 2530), noise=0.8, noise_hz=5800, noise_width_hz=1300, weight=0.6),),
    "ʃ": (Phone((300, 1840, 2750), noise=0.9, noise_hz=3200, noise_width_hz=1000, weight=0.6),),
    "f": (Phone((340, 1100, 2080), noise=0.25, noise_hz=5000, noise_width_hz=4000, weight=0.55),),
    "z": (Phone((240, 1390, 2530), voice=0.3, noise=0.4, noise_hz=5800, noise_width_hz=1300, weight=0.5),),
    "t": (_CLOSURE, Phone((400, 1600, 2600), noise=1.0, noise_hz=4500, noise_width_hz=2000, weight=0.2)),
    "k": (_CLOSURE, Phone((300, 1990, 2850), noise=1.0, noise_hz=2200, noise_width_hz=700, weight=0.22)),
    "b": (_VOICE_BAR, Phone((200, 1100, 2150), voice=0.5, noise=0.3, noise_hz=1000, weight=0.1)),
    "d": (_VOICE_BAR, Phone((200, 1600, 2600), voice=0.5, noise=0.5, noise_hz=4000, weight=0.1)),
    "m": (Phone((280, 1100, 2130), voice=0.45, weight=0.5),),
    "n": (Phone((280, 1500, 2470), voice=0.45, weight=0.5),),
    "l": (Phone((310, 1050, 2880), voice=0.6, weight=0.45),),
    "j": (Phone((260, 2070, 3020), voice=0.6, weight=0.4),),
}


@dataclass(frozen=True)
class Voice:
    """A speaker in an emotion in one take."""

    f0_hz: float
    f0_range_semitones: float
    contour_semitones: float
    syllables_per_second: float
    level_dbfs: float
    accent_db: float
    tilt_db_per_octave: float
    open_quotient: float
    breath: float
    jitter: float
    shimmer_db: float
    formant_scale: float
    articulation: float
    attack_seconds: float


@dataclass(frozen=True)
class Segment:
    """A phone as spoken: scaled formants, gains with stress, F0 relative to the voice's."""

    seconds: float
    formants_hz: np.ndarray
    voice: float
    noise: float
    noise_hz: float
    noise_width_hz: float
    f0_semitones: float


def draw_voice(speaker: Speaker, emotion: Emotion, rng: np.random.Generator) -> Voice:
    strength = speaker.expressiveness * rng.uniform(0.7, 1.2)

    def vary(deviation: float) -> float:
        return float(np.exp(deviation * rng.standard_normal()))

    def factor(change: float) -> float:
        return 1 + strength * change

    return Voice(
        f0_hz=speaker.f0_hz * 2 ** (strength * emotion.f0_semitones / 12) * vary(0.06),
        f0_range_semitones=1.8 * factor(emotion.f0_range) * vary(0.2),
        contour_semitones=-2 + strength * emotion.contour_semitones + rng.normal(0, 1),
        syllables_per_second=speaker.syllables_per_second * factor(emotion.rate) * vary(0.06),
        level_dbfs=-30 + strength * emotion.energy_db + rng.normal(0, 1.8),
        accent_db=3 + strength * emotion.accent_db,
        tilt_db_per_octave=speaker.tilt_db_per_octave + strength * emotion.tilt_db_per_octave + rng.normal(0, 0.5),
        open_quotient=speaker.open_quotient + strength * emotion.open_quotient + rng.normal(0, 0.02),
        breath=from_decibels(speaker.breath_db + strength * emotion.breath_db + rng.normal(0, 1.5)),
        jitter=speaker.jitter * factor(emotion.jitter) * vary(0.2),
        shimmer_db=speaker.shimmer_db * factor(emotion.shimmer) * vary(0.2),
        formant_scale=_TRACT_CM / speaker.tract_cm * factor(emotion.formants) * vary(0.01),
        articulation=factor(emotion.articulation) * vary(0.05),
        attack_seconds=(35 + strength * emotion.attack_ms) / 1000,
    )


def from_decibels(decibels):
    return 10 ** (decibels / 20)


def draw_segments(voice: Voice, num_syllables: int, rng: np.random.Generator) -> list[Segment]:
    """Silence, syllables (one onset and one vowel each), silence."""
    stressed = rng.random(num_syllables) < 0.45
    stressed[rng.integers(num_syllables)] = True
    segments = [_silence(voice, rng)]
    for index in range(num_syllables):
        position = index / (num_syllables - 1) - 0.5
        semitones = _syllable_semitones(voice, stressed[index], position, rng)
        segments += _draw_syllable(voice, stressed[index], semitones, index == num_syllables - 1, rng)
    return [*segments, _silence(voice, rng)]


def _silence(voice: Voice, rng: np.random.Generator) -> Segment:
    return spoken(Phone(), voice, rng.uniform(0.12, 0.32), 1.0, 0.0)


def _syllable_semitones(voice: Voice, stressed: bool, position: float, rng: np.random.Generator) -> float:
    accent = rng.uniform(0.5, 1.5) if stressed else -rng.uniform(0.2, 0.8)
    return voice.f0_range_semitones * accent + voice.contour_semitones * position


def _draw_syllable(voice: Voice, stressed: bool, semitones: float, last: bool, rng: np.random.Generator) -> list[Segment]:
    onset = ONSETS[rng.choice(list(ONSETS))]
    vowel = VOWELS[rng.choice(list(VOWELS))]
    seconds = np.exp(rng.normal(0, 0.12)) * (1.15 if stressed else 0.88) * (1.2 if last else 1) / voice.syllables_per_second
    gain = from_decibels(voice.accent_db * (0.5 if stressed else -0.5) + rng.normal(0, 1))
    phones = (*onset, vowel)
    unit = seconds / sum(phone.weight for phone in phones)
    return [spoken(phone, voice, unit * phone.weight, gain, semitones) for phone in phones]


def spoken(phone: Phone, voice: Voice, seconds: float, gain: float, semitones: float) -> Segment:
    centre = np.array(Phone.formants_hz)
    formants = voice.formant_scale * (centre + voice.articulation * (np.array(phone.formants_hz) - centre))
    noise_hz = min(voice.formant_scale * phone.noise_hz, 7000)
    return Segment(seconds, formants, gain * phone.voice, gain * phone.noise, noise_hz, phone.noise_width_hz, semitones)
