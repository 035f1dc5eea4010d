"""Augmentation of the sound: the physics of each step, and draws that depend on seed, clip and variant alone."""

from __future__ import annotations

import numpy as np
import pytest

from kser.audio import augment_waveform
from kser.audio.augment_waveform import augment_sound, variant_rng
from kser.config import AUGMENTATIONS, SAMPLE_RATE_HZ

STEPS = tuple((name, a.high) for name, a in AUGMENTATIONS.items() if a.stage == "sound")
NAMES = tuple(name for name, _ in STEPS)
DRAWS = 40
# The first draw of seed 7, clip "a", variant 3.
VARIANT_7_A_3 = 0.4249911732247348


def rng(variant: int = 0) -> np.random.Generator:
    return variant_rng(0, "clip", variant)


def tone(frequency_hz: float, seconds: float = 1.0, amplitude: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def noise(num_samples: int = SAMPLE_RATE_HZ, amplitude: float = 0.1) -> np.ndarray:
    return (amplitude * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)


def click(place: int, num_samples: int = SAMPLE_RATE_HZ) -> np.ndarray:
    samples = np.zeros(num_samples, np.float32)
    samples[place] = 0.5
    return samples


def power(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and the power at each, through a Hann window."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ), spectrum


def band_power(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    frequencies, spectrum = power(samples)
    return float(spectrum[(frequencies >= low_hz) & (frequencies < high_hz)].sum())


def peak_hz(samples: np.ndarray) -> float:
    """Frequency of the strongest partial, interpolated by a parabola in decibels."""
    frequencies, spectrum = power(samples)
    place = int(spectrum.argmax())
    left, middle, right = np.log(spectrum[place - 1 : place + 2])
    return frequencies[1] * (place + 0.5 * (left - right) / (left - 2 * middle + right))


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


# All steps.


@pytest.mark.parametrize("step", STEPS, ids=NAMES)
@pytest.mark.parametrize("num_samples", [1600, 1601, 12345])
@pytest.mark.parametrize("amplitude", [0.0, 1e-40, 0.1, 3.0])
def test_type_length_and_finiteness(step, num_samples, amplitude):
    samples = noise(num_samples, amplitude)
    for variant in range(3):
        result = augment_sound(samples, (step,), rng(variant))
        assert result.dtype == np.float32 and np.isfinite(result).all()
        assert 1 / 1.51 < len(result) / num_samples < 2.01 if step[0] == "speed" else len(result) == num_samples
        assert np.abs(result).max() <= 2 * np.abs(samples).max() + 1e-30
        assert amplitude > 0 or not result.any()  # silence stays silence


@pytest.mark.parametrize("step", STEPS, ids=NAMES)
def test_the_lowest_strength_works_on_the_shortest_clip(step):
    result = augment_sound(noise(1600), ((step[0], AUGMENTATIONS[step[0]].low),), rng())
    assert np.isfinite(result).all() and abs(len(result) - 1600) <= 17


@pytest.mark.parametrize("step", STEPS, ids=NAMES)
def test_the_same_generator_gives_the_same_sound_and_another_one_another(step):
    samples = noise(4000)
    first, again, other = (augment_sound(samples, (step,), rng(variant)) for variant in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert step[0] == "codec" or first.tobytes() != other.tobytes()  # codec draws only whether
    assert first.tobytes() != samples.tobytes()


@pytest.mark.parametrize("step", STEPS, ids=NAMES)
def test_the_input_is_left_as_it_was(step):
    samples = noise(4000)
    augment_sound(samples, (step,), rng())
    np.testing.assert_array_equal(samples, noise(4000))


def test_no_steps_return_the_samples():
    samples = noise(1600)
    assert augment_sound(samples, (), rng()) is samples


def test_steps_are_applied_in_their_order():
    room, codec = ("room", 0.5), ("codec", 1.0)
    samples = noise(4000)
    last_codec, last_room = (augment_sound(samples, steps, rng()) for steps in ((room, codec), (codec, room)))
    assert not np.allclose(last_codec, last_room, atol=1e-3)
    # All that a telephone puts out is in its band, whatever came before; a room comes after it only if it is named so.
    generator = rng()
    in_room = augment_sound(samples, (room,), generator)
    np.testing.assert_array_equal(last_codec, augment_sound(in_room, (codec,), generator))


# Generators.


def test_variants_clips_and_seeds_have_generators_of_their_own():
    keys = [(seed, name, variant) for seed in (0, 1, 11) for name in ("a", "1 a", "b") for variant in (0, 1, 11)]
    assert len({variant_rng(*key).random(4).tobytes() for key in keys}) == len(keys)


def test_generators_do_not_depend_on_what_was_drawn_before():
    alone = variant_rng(7, "a", 3).random(4)
    variant_rng(7, "a", 2).random(1000)
    np.testing.assert_array_equal(variant_rng(7, "a", 3).random(4), alone)
    # The same in every process and on every computer: not Python's own hash of a string.
    assert alone[0] == pytest.approx(VARIANT_7_A_3, abs=1e-15)


def test_a_name_that_is_no_text_has_a_generator():
    assert variant_rng(0, "caf\udce9", 0).random() != variant_rng(0, "caf", 0).random()


# Speed.


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.1, 1.5])
def test_speed_moves_a_tone_and_the_length(factor):
    samples = augment_waveform.change_speed(tone(440), factor)
    assert abs(len(samples) - SAMPLE_RATE_HZ / factor) <= 1
    assert peak_hz(samples) == pytest.approx(440 * factor, rel=1e-4)
    assert rms(samples) == pytest.approx(rms(tone(440)), rel=0.01)


def test_speeds_are_drawn_within_the_strength():
    lengths = [len(augment_sound(noise(1600), (("speed", 0.2),), rng(v))) for v in range(DRAWS)]
    factors = 1600 / np.array(lengths)
    assert 0.799 < factors.min() < 0.9 and 1.1 < factors.max() < 1.201  # 40 draws miss a quarter once in 10^5


# Pitch.


@pytest.mark.parametrize("semitones", [-12, -3, -0.1, 0, 0.1, 2.5, 12])
def test_pitch_moves_a_tone_by_semitones_and_keeps_length_and_level(semitones):
    samples = augment_waveform.shift_pitch(tone(440), semitones)
    assert len(samples) == SAMPLE_RATE_HZ
    assert 12 * np.log2(peak_hz(samples) / 440) == pytest.approx(semitones, abs=0.02)
    assert rms(samples) == pytest.approx(rms(tone(440)), rel=0.03)


@pytest.mark.parametrize("semitones", [-7, 7])
def test_a_shifted_tone_is_as_pure_as_before(semitones):
    """Windows that were overlapped out of phase would beat, and put a tenth of the power and more beside the tone."""
    samples = augment_waveform.shift_pitch(tone(440), semitones)[1600:-1600]
    frequency = peak_hz(samples)
    total = band_power(samples, 0, SAMPLE_RATE_HZ)
    assert band_power(samples, frequency - 20, frequency + 20) > 0.99 * total


@pytest.mark.parametrize("semitones", [-6, 6])
def test_pitch_keeps_the_time_of_events(semitones):
    """Bursts of a voiced sound stay where they are, within the offsets that the alignment is free to choose."""
    envelope = np.zeros(SAMPLE_RATE_HZ, np.float32)
    for begin in (2000, 8000, 12500):
        envelope[begin : begin + 1600] = np.hanning(1600)
    shifted = augment_waveform.shift_pitch(tone(300) * envelope, semitones)
    smooth = np.convolve(np.square(shifted), np.ones(800), "same")
    for begin in (2000, 8000, 12500):
        near = slice(begin - 800, begin + 2400)
        assert abs(begin - 800 + int(smooth[near].argmax()) - (begin + 800)) <= 1.5 * augment_waveform.MAX_OFFSET


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("num_samples", [1, 300, 1600, 16001])
def test_stretching_gives_the_length_asked_for(factor, num_samples):
    assert len(augment_waveform.stretch(noise(num_samples), factor)) == round(num_samples * factor)


def test_stretching_by_one_changes_nothing():
    np.testing.assert_allclose(augment_waveform.stretch(noise(), 1.0), noise(), atol=1e-6)


def test_semitones_are_drawn_within_the_strength():
    samples = tone(440, 0.3)
    moved = [12 * np.log2(peak_hz(augment_sound(samples, (("pitch", 4.0),), rng(v))) / 440) for v in range(DRAWS)]
    assert -4.1 < min(moved) < -2 and 2 < max(moved) < 4.1


# Room.


def lowpass(samples: np.ndarray, below_hz: float) -> np.ndarray:
    length = 2 * len(samples)
    spectrum = np.fft.rfft(samples, length)
    spectrum[round(below_hz / SAMPLE_RATE_HZ * length) :] = 0
    return np.fft.irfft(spectrum, length)[: len(samples)]


def measured_rt60(response: np.ndarray) -> float:
    """Schroeder's backward integration; a line from -5 to -25 dB, extrapolated to 60 dB (ISO 3382's T20)."""
    decay = np.cumsum(np.square(response[::-1]))[::-1]
    decay_db = 10 * np.log10(decay / decay[0])
    begin, end = (int(np.argmax(decay_db < level)) for level in (-5, -25))
    slope = np.polyfit(np.arange(begin, end) / SAMPLE_RATE_HZ, decay_db[begin:end], 1)[0]
    return -60 / slope


@pytest.mark.parametrize("rt60", [0.2, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("variant", range(3))
def test_a_room_decays_in_the_time_drawn(rt60, variant):
    response = augment_waveform.room_impulse_response(rt60, 0.0, rng(variant))[1:]  # without the direct sound
    assert measured_rt60(lowpass(response, 1800)) == pytest.approx(rt60, rel=0.15)


@pytest.mark.parametrize("rt60", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("variant", range(3))
def test_high_frequencies_decay_faster(rt60, variant):
    response = augment_waveform.room_impulse_response(rt60, 0.0, rng(variant))
    tail = response[round(augment_waveform.MIXING_SECONDS * SAMPLE_RATE_HZ) :]  # the reflections have all frequencies
    high = tail - lowpass(tail, 2200)
    assert measured_rt60(high) == pytest.approx(augment_waveform.HIGH_BAND_RT60_SHARE * rt60, rel=0.15)


@pytest.mark.parametrize("ratio_db", [-6.0, 3.0, 12.0])
@pytest.mark.parametrize("rt60", [0.01, 0.5])
def test_a_room_has_the_ratio_of_direct_to_reverberant_energy(ratio_db, rt60):
    response = augment_waveform.room_impulse_response(rt60, ratio_db, rng())
    assert response.shape == (round(rt60 * SAMPLE_RATE_HZ),) and response[0] == 1
    assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(ratio_db, abs=1e-9)


def test_a_room_begins_with_a_few_reflections_between_which_there_is_nothing():
    response = augment_waveform.room_impulse_response(0.5, 0.0, rng())
    mixing = round(augment_waveform.MIXING_SECONDS * SAMPLE_RATE_HZ)
    early = response[1:mixing]
    assert np.count_nonzero(early) == augment_waveform.EARLY_REFLECTIONS and (early >= 0).all()
    assert np.count_nonzero(response[mixing:]) == len(response) - mixing
    other = augment_waveform.room_impulse_response(0.5, 0.0, rng(1))[1:mixing]
    assert set(np.flatnonzero(early)) != set(np.flatnonzero(other))


def test_reflections_carry_the_energy_that_noise_in_their_place_would():
    rt60, mixing = 0.5, round(augment_waveform.MIXING_SECONDS * SAMPLE_RATE_HZ)
    taps = np.arange(round(rt60 * SAMPLE_RATE_HZ))
    low, high = (10 ** (-6 * taps / (rt60 * s * SAMPLE_RATE_HZ)) for s in (1, augment_waveform.HIGH_BAND_RT60_SHARE))
    share = augment_waveform.HIGH_BAND_HZ / (SAMPLE_RATE_HZ / 2)  # of white noise
    expected = low[:mixing].sum() / (share * low[mixing:] + (1 - share) * high[mixing:]).sum()
    rooms = np.array([augment_waveform.room_impulse_response(rt60, 0.0, rng(v))[1:] ** 2 for v in range(DRAWS)])
    early, late = rooms[:, : mixing - 1].sum(axis=1), rooms[:, mixing - 1 :].sum(axis=1)
    assert (early / late).mean() == pytest.approx(expected, rel=0.15)


def test_the_direct_sound_stays_where_it_was_and_nothing_comes_before():
    samples = click(5000)
    response = augment_waveform.room_impulse_response(0.5, 6.0, rng())
    heard = augment_waveform.place_in_room(samples, response)
    assert np.abs(heard[:5000]).max() < 1e-6 and int(np.abs(heard).argmax()) == 5000
    np.testing.assert_allclose(heard[5000:13000] / heard[5000], response, atol=1e-5)
    assert np.abs(heard[13000:]).max() < 1e-6


def test_a_room_of_the_direct_sound_alone_changes_nothing():
    np.testing.assert_allclose(augment_waveform.place_in_room(noise(), np.array([1.0])), noise(), atol=1e-6)


def test_what_rings_on_after_the_end_does_not_come_in_again_at_the_beginning():
    heard = augment_waveform.place_in_room(click(15000), augment_waveform.room_impulse_response(3.0, -6.0, rng()))
    assert np.abs(heard[:15000]).max() < 1e-6 and rms(heard[15640:]) > 1e-3


@pytest.mark.parametrize("strength", [0.05, 0.5, 3.0])
def test_a_room_keeps_the_level(strength):
    samples = noise(8000) * np.hanning(8000).astype(np.float32)
    for variant in range(5):
        assert rms(augment_sound(samples, (("room", strength),), rng(variant))) == pytest.approx(rms(samples), rel=1e-4)


def test_rooms_are_drawn_from_their_ranges(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        augment_waveform, "room_impulse_response", lambda rt60, ratio_db, _: drawn.append((rt60, ratio_db)) or np.ones(1)
    )
    for variant in range(DRAWS):
        augment_sound(noise(1600), (("room", 1.0),), rng(variant))
    (rt60_low, ratio_low), (rt60_high, ratio_high) = np.min(drawn, axis=0), np.max(drawn, axis=0)
    assert 0.2 <= rt60_low < 0.4 and 0.8 < rt60_high <= 1
    assert -6 <= ratio_low < -1.5 and 7.5 < ratio_high <= 12


# Codec.


def test_strength_one_always_applies_the_codec_and_another_that_share():
    samples = noise(1600)
    passed = {s: [augment_sound(samples, (("codec", s),), rng(v)) is not samples for v in range(100)] for s in (1.0, 0.3)}
    assert all(passed[1.0])
    assert 15 < sum(passed[0.3]) < 45  # 3.3 standard deviations of a binomial draw


def test_mu_law_keeps_a_loud_sine_38_db_above_its_noise():
    """3 L^2 / ln(1 + mu)^2 of L levels: 38.0 dB for the 254 steps from -1 to 1."""
    sine = tone(440.7, amplitude=0.9)
    error = augment_waveform.mu_law(sine) - sine
    assert 20 * np.log10(rms(sine) / rms(error)) == pytest.approx(38, abs=1)


def test_mu_law_keeps_the_ratio_over_a_wide_range_where_linear_bits_would_lose_it():
    sine = tone(440.7, amplitude=0.02)
    error = augment_waveform.mu_law(sine) - sine
    assert 20 * np.log10(rms(sine) / rms(error)) > 30  # 8 linear bits: 16 dB


def test_mu_law_has_255_values_symmetric_about_zero_and_clips_at_full_scale():
    coded = augment_waveform.mu_law(np.linspace(-2, 2, 400001).astype(np.float32))
    values = np.unique(coded)
    assert len(values) == 255 and 0 in values
    np.testing.assert_array_equal(values, -values[::-1])
    assert values[-1] == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(augment_waveform.mu_law(coded), coded)  # a second exchange on the way does no harm


def test_a_telephone_passes_its_band_and_nothing_else():
    samples = noise(2 * SAMPLE_RATE_HZ)
    heard = augment_waveform.telephone(samples)

    def gain_db(low_hz, high_hz):
        return 10 * np.log10(band_power(heard, low_hz, high_hz) / band_power(samples, low_hz, high_hz))

    assert gain_db(300, 3400) == pytest.approx(0, abs=0.2)
    assert gain_db(4100, 8000) < -70
    assert gain_db(3750, 3950) < -25 and gain_db(0, 180) < -25  # no more than the noise of the code


def test_a_telephone_keeps_time():
    samples = click(5001)
    heard = augment_waveform.telephone(samples)
    assert abs(int(np.abs(heard).argmax()) - 5001) <= 1
    burst = tone(1000) * np.hanning(SAMPLE_RATE_HZ).astype(np.float32)
    np.testing.assert_allclose(augment_waveform.telephone(burst), burst, atol=0.01)


@pytest.mark.parametrize("num_samples", [8000, 16384])
def test_what_rings_before_the_first_sample_does_not_come_in_at_the_end(num_samples):
    assert np.abs(augment_waveform.telephone(click(0, num_samples))[-400:]).max() < 1e-3
