"""Corpus `synthetic`: generated sounds in four acted emotions, for trying the tools where no real corpus is at hand.

It is a smoke corpus: its classes are as easy or hard as the tables below make them, so no score on it is ever a result.

A deterministic source-filter synthesizer. Glottal pulses (Rosenberg 1971), each period with its own jitter and shimmer,
and aspiration noise in the open phase pass a cascade of formant resonators (Klatt 1980) that moves from phone to phone;
fricatives and bursts are shaped noise. Vowels are Peterson and Barney's (1952), scaled by the vocal tract's length. A
small room and the microphone's noise follow. One seed per (speaker, emotion, take): no clip depends on another.

What an emotion does to level and range of F0, rate, energy, spectral tilt, formants, articulation and voice quality has
the direction these reviews agree on; the sizes are ours. How strongly it shows varies with the speaker and the take.
  K. R. Scherer, Vocal communication of emotion: A review of research paradigms, Speech Communication 40, 2003.
  P. N. Juslin, P. Laukka, Communication of emotions in vocal expression and music performance: Different channels, same
    code?, Psychological Bulletin 129(5), 2003.
  I. R. Murray, J. L. Arnott, Toward the simulation of emotion in synthetic speech: A review of the literature on human
    vocal emotion, J. Acoust. Soc. Am. 93(2), 1993.
The synthesizer:
  A. E. Rosenberg, Effect of glottal pulse shape on the quality of natural vowels, J. Acoust. Soc. Am. 49(2B), 1971.
  D. H. Klatt, Software for a cascade/parallel formant synthesizer, J. Acoust. Soc. Am. 67(3), 1980.
  G. E. Peterson, H. L. Barney, Control methods used in a study of the vowels, J. Acoust. Soc. Am. 24(2), 1952.
"""

from __future__ import annotations

import io
import itertools
import math
import os
from dataclasses import dataclass

import numpy as np
import soundfile
from tqdm import tqdm

from kser.config import SAMPLE_RATE_HZ
from kser.datasets.corpus import Corpus, Utterance, speakers_held_out
from kser.errors import DatasetError, KserError
from kser.files import write_bytes

NAME = "synthetic"
TAKES = 12
WARNING = "'synthetic' is a smoke corpus made of generated sounds: no score on it is a result."
_CORPUS_SEED = 1952


@dataclass(frozen=True)
class Speaker:
    """A voice at rest. `jitter` is the standard deviation of a period relative to its length."""

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
    """What an emotion at full strength adds to the neutral voice; `rate`, `jitter` ... are relative (0.2: 20 % more).

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
    """Formants of a 17.5 cm tract, how loud voice and noise are (linear), the noise's band, and the share of time."""

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

# Each split holds out one low and one high voice.
HELD_OUT_SPEAKERS = tuple((f"Speaker_{low:02d}", f"Speaker_{low + 1:02d}") for low in (1, 3, 5, 7))

# Overlap-add of 16 ms windows every 4 ms; the transform leaves the formants 48 ms to ring out.
_HOP, _WINDOW, _FFT = 64, 256, 1024
_OVERSAMPLING = 3
_FORMANT_WIDTHS_HZ = (70, 100, 140)
_UPPER_FORMANTS_HZ = ((3500, 220), (4500, 320), (5500, 450), (6500, 600), (7500, 800))
_HIGHEST_FORMANT_HZ = 7400
_TRACT_CM = 17.5
_PEAK = 0.95
# Levels of the noise sources beside the pulses, set by looking at spectrograms.
_FRICATION, _ASPIRATION = 2.5, 10.0


def load(data_dir: str = "", options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus in `data_dir` (empty: a cache of the user's), generating the files that are not there yet.

    Files are `Speaker_03/03-angry-07.wav`: 8 speakers x 4 emotions x 12 takes, 16 kHz, 16 bit, mono, 1 to 3 seconds.
    Each appears under its name only when it is whole, so an interrupted call is continued by the next.

    Raises:
      DatasetError: `data_dir` holds other files, or a folder or file cannot be written.
    """
    root = data_dir or default_dir()
    _require_own_directory(root)
    clips = list(itertools.product(range(len(SPEAKERS)), LABELS, range(1, TAKES + 1)))
    utterances = [_utterance(root, *clip) for clip in clips]
    missing = [pair for pair in zip(utterances, clips, strict=True) if not os.path.isfile(pair[0].path)]
    for utterance, clip in tqdm(missing, desc="generating", unit="clip", disable=not missing):
        _write_wav(utterance.path, generate_clip(*clip))
    return Corpus(NAME, LABELS, tuple(utterances), {"pairs": speakers_held_out(HELD_OUT_SPEAKERS)}, (WARNING,))


def _require_own_directory(root: str) -> None:
    """Someone else's files are no place to generate into."""
    names = os.listdir(root) if os.path.isdir(root) else []
    if names and not any(name.startswith("Speaker_") for name in names):
        raise DatasetError(f"{root} holds other files than corpus '{NAME}'; give it an empty or new directory, or none.")


def default_dir() -> str:
    """Where the corpus lives when no directory is given; the version changes whenever the sounds do."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "kser", "synthetic-v1")


def generate_clip(speaker_index: int, emotion: str, take: int) -> np.ndarray:
    """One clip, the same for the same arguments: (num_samples,) float32 at 16 kHz, |x| <= 0.95.

    `speaker_index` counts from 0 (into `SPEAKERS`), `take` from 1 as in the file names.

    Raises:
      DatasetError: no such speaker, emotion or take.
    """
    if not 0 <= speaker_index < len(SPEAKERS) or emotion not in EMOTIONS or take < 1:
        raise DatasetError(
            f"'{NAME}' has speaker indices 0 to {len(SPEAKERS) - 1}, emotions {', '.join(LABELS)} and takes from 1, "
            f"not ({speaker_index!r}, {emotion!r}, {take!r})."
        )
    rng = np.random.default_rng([_CORPUS_SEED, speaker_index, LABELS.index(emotion), take])
    voice = _draw_voice(SPEAKERS[speaker_index], EMOTIONS[emotion], rng)
    # The take sets the length of the sentence, so that all emotions speak equally many syllables.
    segments = _draw_segments(voice, 5 + take % 2, rng)
    return _record(_speak(voice, segments, rng), voice.level_dbfs, rng).astype(np.float32)


def _utterance(root: str, speaker_index: int, emotion: str, take: int) -> Utterance:
    speaker = f"Speaker_{speaker_index + 1:02d}"
    utterance_id = f"{speaker_index + 1:02d}-{emotion}-{take:02d}"
    path = os.path.join(root, speaker, f"{utterance_id}.wav")
    return Utterance(utterance_id, path, emotion, speaker, attributes={"take": f"{take:02d}"})


def _write_wav(path: str, clip: np.ndarray) -> None:
    # Encoded in memory: a full disk is then an OSError of write() rather than whatever libsndfile makes of it.
    wav = io.BytesIO()
    soundfile.write(wav, np.round(clip * 32768).astype(np.int16), SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    try:
        write_bytes(path, wav.getvalue())
    except KserError as error:
        raise DatasetError(f"Corpus '{NAME}' cannot be generated: {error}") from error


# What is said: a voice, and a sequence of segments.


@dataclass(frozen=True)
class _Voice:
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
class _Segment:
    """A phone as spoken: formants scaled, gains with stress, F0 relative to the voice's."""

    seconds: float
    formants_hz: np.ndarray
    voice: float
    noise: float
    noise_hz: float
    noise_width_hz: float
    f0_semitones: float


def _draw_voice(speaker: Speaker, emotion: Emotion, rng: np.random.Generator) -> _Voice:
    strength = speaker.expressiveness * rng.uniform(0.7, 1.2)

    def vary(deviation: float) -> float:
        return float(np.exp(deviation * rng.standard_normal()))

    def factor(change: float) -> float:
        return 1 + strength * change

    return _Voice(
        f0_hz=speaker.f0_hz * 2 ** (strength * emotion.f0_semitones / 12) * vary(0.06),
        f0_range_semitones=1.8 * factor(emotion.f0_range) * vary(0.2),
        contour_semitones=-2 + strength * emotion.contour_semitones + rng.normal(0, 1),
        syllables_per_second=speaker.syllables_per_second * factor(emotion.rate) * vary(0.06),
        level_dbfs=-30 + strength * emotion.energy_db + rng.normal(0, 1.8),
        accent_db=3 + strength * emotion.accent_db,
        tilt_db_per_octave=speaker.tilt_db_per_octave + strength * emotion.tilt_db_per_octave + rng.normal(0, 0.5),
        open_quotient=speaker.open_quotient + strength * emotion.open_quotient + rng.normal(0, 0.02),
        breath=_linear(speaker.breath_db + strength * emotion.breath_db + rng.normal(0, 1.5)),
        jitter=speaker.jitter * factor(emotion.jitter) * vary(0.2),
        shimmer_db=speaker.shimmer_db * factor(emotion.shimmer) * vary(0.2),
        formant_scale=_TRACT_CM / speaker.tract_cm * factor(emotion.formants) * vary(0.01),
        articulation=factor(emotion.articulation) * vary(0.05),
        attack_seconds=(35 + strength * emotion.attack_ms) / 1000,
    )


def _linear(decibels):
    return 10 ** (decibels / 20)


def _draw_segments(voice: _Voice, num_syllables: int, rng: np.random.Generator) -> list[_Segment]:
    """Silence, syllables of one onset and one vowel each, silence."""
    stressed = rng.random(num_syllables) < 0.45
    stressed[rng.integers(num_syllables)] = True
    segments = [_silence(voice, rng)]
    for index in range(num_syllables):
        position = index / (num_syllables - 1) - 0.5
        semitones = _syllable_semitones(voice, stressed[index], position, rng)
        segments += _draw_syllable(voice, stressed[index], semitones, index == num_syllables - 1, rng)
    return [*segments, _silence(voice, rng)]


def _silence(voice: _Voice, rng: np.random.Generator) -> _Segment:
    return _spoken(Phone(), voice, rng.uniform(0.12, 0.32), 1.0, 0.0)


def _syllable_semitones(voice: _Voice, stressed: bool, position: float, rng: np.random.Generator) -> float:
    accent = rng.uniform(0.5, 1.5) if stressed else -rng.uniform(0.2, 0.8)
    return voice.f0_range_semitones * accent + voice.contour_semitones * position


def _draw_syllable(voice: _Voice, stressed: bool, semitones: float, last: bool, rng: np.random.Generator) -> list[_Segment]:
    onset = ONSETS[rng.choice(list(ONSETS))]
    vowel = VOWELS[rng.choice(list(VOWELS))]
    seconds = np.exp(rng.normal(0, 0.12)) * (1.15 if stressed else 0.88) * (1.2 if last else 1) / voice.syllables_per_second
    gain = _linear(voice.accent_db * (0.5 if stressed else -0.5) + rng.normal(0, 1))
    phones = (*onset, vowel)
    unit = seconds / sum(phone.weight for phone in phones)
    return [_spoken(phone, voice, unit * phone.weight, gain, semitones) for phone in phones]


def _spoken(phone: Phone, voice: _Voice, seconds: float, gain: float, semitones: float) -> _Segment:
    centre = np.array(Phone.formants_hz)
    formants = voice.formant_scale * (centre + voice.articulation * (np.array(phone.formants_hz) - centre))
    noise_hz = min(voice.formant_scale * phone.noise_hz, 7000)
    return _Segment(seconds, formants, gain * phone.voice, gain * phone.noise, noise_hz, phone.noise_width_hz, semitones)


# How it sounds. Tracks have one row per hop; N = num_samples is a whole number of hops.


def _track(segments: list[_Segment], name: str, smoothing_seconds: float) -> np.ndarray:
    """The segments' values of `name` as steps in time, smoothed: (num_hops + 1,) or (num_hops + 1, 3)."""
    values = np.array([getattr(segment, name) for segment in segments])
    ends = np.cumsum([segment.seconds for segment in segments])
    times = np.arange(_num_hops(segments) + 1) * (_HOP / SAMPLE_RATE_HZ)
    steps = values[np.minimum(np.searchsorted(ends, times, side="right"), len(ends) - 1)]
    return _smooth(steps, smoothing_seconds)


def _num_hops(segments: list[_Segment]) -> int:
    return int(sum(segment.seconds for segment in segments) * SAMPLE_RATE_HZ / _HOP)


def _smooth(track: np.ndarray, seconds: float) -> np.ndarray:
    """Running Hann-weighted mean over `seconds` along the first axis."""
    half = max(1, round(seconds * SAMPLE_RATE_HZ / _HOP / 2))
    weights = np.hanning(2 * half + 3)[1:-1]
    padded = np.pad(track, [(half, half)] + [(0, 0)] * (track.ndim - 1), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=0) @ (weights / weights.sum())


def _at_rate(track: np.ndarray, oversampling: int = 1) -> np.ndarray:
    """A track (num_hops + 1,) at every sample: (num_hops * 64 * oversampling,)."""
    hops = len(track) - 1
    return np.interp(np.arange(hops * _HOP * oversampling) / (_HOP * oversampling), np.arange(hops + 1), track)


def _speak(voice: _Voice, segments: list[_Segment], rng: np.random.Generator) -> np.ndarray:
    """The sound at the lips, of any level: (N,)."""
    source = _glottal_source(voice, segments, rng)
    noise = _FRICATION * _at_rate(_track(segments, "noise", 0.012)) * rng.standard_normal(len(source))
    spectra = _spectra(source) * _tract(voice, segments) + _spectra(noise) * _noise_band(segments)
    return _overlap_add(spectra)[: len(source)]


def _glottal_source(voice: _Voice, segments: list[_Segment], rng: np.random.Generator) -> np.ndarray:
    """Derivative of the glottal flow plus aspiration noise where the glottis is open: (N,)."""
    f0_hz = np.clip(voice.f0_hz * 2 ** (_track(segments, "f0_semitones", 0.14) / 12), 55, 600)
    position, gains = _glottal_cycles(voice, _at_rate(f0_hz, _OVERSAMPLING), rng)
    amplitude = gains[position.astype(int)] * _at_rate(_track(segments, "voice", voice.attack_seconds), _OVERSAMPLING)
    flow, derivative = _rosenberg(position % 1, voice.open_quotient)
    pulses = _decimate(derivative * amplitude, voice.tilt_db_per_octave)
    aspiration = (flow * amplitude)[::_OVERSAMPLING] * rng.standard_normal(len(pulses))
    return pulses + _ASPIRATION * voice.breath * aspiration


def _glottal_cycles(voice: _Voice, f0_hz: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How many cycles have passed at every sample, (num_samples,), and each cycle's shimmer gain, (num_cycles,).

    Jitter: every period is `1 + jitter * normal` times as long as F0 asks for.
    """
    cycles = np.cumsum(f0_hz) / (SAMPLE_RATE_HZ * _OVERSAMPLING)
    num_cycles = int(cycles[-1] * 1.1) + 3
    lengths = np.maximum(1 + voice.jitter * rng.standard_normal(num_cycles), 0.5)
    gains = _linear(voice.shimmer_db * rng.standard_normal(num_cycles))
    onsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.interp(cycles, onsets, np.arange(num_cycles + 1)), gains


def _rosenberg(phase: np.ndarray, open_quotient: float) -> tuple[np.ndarray, np.ndarray]:
    """Rosenberg's trigonometric pulse at `phase` in [0, 1): flow in [0, 1] and its derivative by phase.

    Opens over two thirds of the open phase, 0.5 - 0.5 cos(pi p), and closes over one third, cos(pi p / 2).
    """
    opening, closing = open_quotient * 2 / 3, open_quotient / 3
    rise = np.pi * np.minimum(phase / opening, 1)
    fall = np.pi / 2 * np.clip((phase - opening) / closing, 0, 1)
    closed = phase >= open_quotient
    flow = (0.5 - 0.5 * np.cos(rise)) * np.cos(fall)
    derivative = np.pi / 2 * (np.sin(rise) / opening - np.sin(fall) / closing)
    return flow, np.where(closed, 0.0, derivative)


def _decimate(oversampled: np.ndarray, tilt_db_per_octave: float) -> np.ndarray:
    """To 16 kHz without the aliases of the pulses' corners, tilted from 400 Hz upwards: (N,)."""
    num_samples = len(oversampled) // _OVERSAMPLING
    length = _fast_length(num_samples)
    spectrum = np.fft.rfft(oversampled, length * _OVERSAMPLING)[: length // 2 + 1] / _OVERSAMPLING
    octaves = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ) / 400, 1))
    return np.fft.irfft(spectrum * _linear(tilt_db_per_octave * octaves), length)[:num_samples]


def _fast_length(num_samples: int) -> int:
    """The next length with small prime factors only, at most an eighth longer."""
    step = 1 << max(num_samples.bit_length() - 4, 0)
    return -(-num_samples // step) * step


def _spectra(signal: np.ndarray) -> np.ndarray:
    """Hann-windowed short-time spectra centred on the hops: (num_hops + 1, 513)."""
    padded = np.pad(signal, (_WINDOW // 2, _WINDOW // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    return np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)), _FFT)


def _overlap_add(spectra: np.ndarray) -> np.ndarray:
    """The inverse of `_spectra`, with up to 48 ms of ringing at the end."""
    parts = np.fft.irfft(spectra, _FFT).reshape(len(spectra), _FFT // _HOP, _HOP)
    total = np.zeros((len(spectra) + _FFT // _HOP, _HOP))
    for part in range(_FFT // _HOP):
        total[part : part + len(spectra)] += parts[:, part]
    overlap = _WINDOW / (2 * _HOP)  # what shifted Hann windows add up to
    return total.ravel()[_WINDOW // 2 :] / overlap


def _tract(voice: _Voice, segments: list[_Segment]) -> np.ndarray:
    """Transfer function of the vocal tract at every hop: (num_hops + 1, 513) complex64."""
    formants = _track(segments, "formants_hz", 0.06)
    damping = np.ones(_FFT // 2 + 1, np.complex64)
    for frequency, width in _UPPER_FORMANTS_HZ:
        # A short tract has fewer formants below 8 kHz; forcing them in would pile them up there.
        if voice.formant_scale * frequency < _HIGHEST_FORMANT_HZ:
            damping = damping * _damping(voice.formant_scale * frequency, width)
    for index, width in enumerate(_FORMANT_WIDTHS_HZ):
        damping = damping * _damping(formants[:, index, None], width)
    return 1 / damping


def _damping(frequency_hz, width_hz: float) -> np.ndarray:
    """One over the transfer function of Klatt's resonator, which has gain 1 at 0 Hz: (..., 513) complex64."""
    delay = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT).astype(np.complex64)
    radius = math.exp(-math.pi * width_hz / SAMPLE_RATE_HZ)
    feedback = 2 * radius * np.cos(2 * np.pi * np.asarray(frequency_hz, np.float32) / SAMPLE_RATE_HZ)
    return (1 + (radius * delay) ** 2 - feedback * delay) * (1 / (1 + radius**2 - feedback))


def _noise_band(segments: list[_Segment]) -> np.ndarray:
    """Gain of the frication noise, a resonance curve that follows the phones: (num_hops + 1, 513)."""
    frequencies = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE_HZ)
    centre = _track(segments, "noise_hz", 0.02)[:, None]
    width = _track(segments, "noise_width_hz", 0.02)[:, None]
    return 1 / (1 + ((frequencies - centre) / width) ** 2)


# How it is recorded.


def _record(speech: np.ndarray, level_dbfs: float, rng: np.random.Generator) -> np.ndarray:
    """In a small room, at `level_dbfs` RMS over the whole clip, through a microphone with noise of its own: (N,)."""
    heard = _reverberate(speech, rng)
    heard = heard * (_linear(level_dbfs) / np.sqrt(np.mean(heard**2)))
    heard = heard + _microphone_noise(len(heard), rng)
    return heard * min(1.0, _PEAK / np.abs(heard).max())


def _reverberate(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The direct sound plus exponentially decaying noise for the room: (N,)."""
    decay_seconds = rng.uniform(0.12, 0.3)
    times = np.arange(round(decay_seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    room = rng.standard_normal(len(times)) * _linear(-60 * times / decay_seconds)
    room *= _linear(-rng.uniform(9, 16)) / np.sqrt(np.sum(room**2))
    room[0] = 1
    length = _fast_length(len(speech) + len(room))
    return np.fft.irfft(np.fft.rfft(speech, length) * np.fft.rfft(room, length), length)[: len(speech)]


def _microphone_noise(num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of -64 to -54 dBFS that falls by 3 dB per octave: (N,)."""
    length = _fast_length(num_samples)
    spectrum = np.fft.rfft(rng.standard_normal(length)) / np.sqrt(1 + np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ) / 50)
    noise = np.fft.irfft(spectrum, length)[:num_samples]
    return noise * (_linear(rng.uniform(-64, -54)) / np.sqrt(np.mean(noise**2)))
