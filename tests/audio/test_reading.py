"""Reading audio: genuine recordings, hand-made headers, everything unusable; and clips of one length."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import wave

import numpy as np
import pytest
import soundfile

from kser.audio import decoding, reading
from kser.audio.log_mel import log_mel_numpy
from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from kser.errors import AudioError, KserWarning

MONO, STEREO = "Actor_01/03-01-05-02-02-01-01", "Actor_01/03-01-02-01-01-02-01"
GENUINE = (MONO, STEREO, "Actor_01/03-01-01-01-01-01-01", "Actor_05/03-01-02-01-02-02-05")
LSB = 1 / 32768
CONFIG = FeatureConfig(window_ms=32.0, hop_ms=16.0, clip_seconds=3.0)
FRAME = reading.ACTIVITY_FRAME_SAMPLES
SPANS = pytest.mark.parametrize("span", [None, (0.1, 0.5)], ids=["whole", "part"])


def wav_of(data_dir, name: str) -> str:
    path = data_dir / "ravdess_original_sample" / f"{name}.wav"
    if not path.is_file():
        pytest.skip(f"no genuine RAVDESS recording {path}")
    return str(path)


def flac_of(data_dir, name: str) -> str:
    return str(data_dir / "ravdess_16k_flac" / f"{name}.flac")


def tone(num_samples: int = SAMPLE_RATE_HZ, sample_rate_hz: int = SAMPLE_RATE_HZ, amplitude: float = 0.3) -> np.ndarray:
    """(num_samples,) float32 of 440 Hz."""
    return (amplitude * np.sin(2 * np.pi * 440 * np.arange(num_samples) / sample_rate_hz)).astype(np.float32)


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes, length: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


PCM16_MONO = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ, 2, 16))


def refusal(path, **kwargs) -> str:
    """What `load` says about `path`: one sentence with the file's name."""
    with pytest.raises(AudioError) as error:
        reading.load(str(path), **kwargs)
    message = str(error.value)
    assert str(path) in message
    rest = message.replace(str(path), "FILE")
    assert rest.endswith(".") and ". " not in rest and "\n" not in rest, message
    return rest


# Genuine recordings.


@pytest.mark.parametrize("name", GENUINE)
def test_genuine_wav_agrees_with_the_flac_of_the_same_name(speech_data_dir, name):
    """The FLACs are the mean of the channels, resampled by another resampler, rounded to 16 bit.

    Resamplers differ in how they fall off towards 8 kHz, so the comparison is made below 7 kHz, where all of them are flat.
    There the rounding of the FLAC remains: uniform within half a step, so an RMS of at most 1/sqrt(12) of a step, and
    after the low-pass (which makes it Gaussian) a peak of less than 6 times that in 10^5 samples.
    """
    ours, theirs = reading.load(wav_of(speech_data_dir, name)), reading.load(flac_of(speech_data_dir, name))
    assert len(ours) == len(theirs)
    spectrum = np.fft.rfft(ours.astype(np.float64) - theirs)
    spectrum[np.fft.rfftfreq(len(ours), 1 / SAMPLE_RATE_HZ) > 7000] = 0
    difference = np.fft.irfft(spectrum, len(ours)) / LSB
    assert np.sqrt(np.mean(difference**2)) <= 1 / np.sqrt(12)
    assert np.abs(difference).max() <= 6 / np.sqrt(12)
    assert np.abs(ours).max() > 500 * LSB  # there is something to agree on


def test_the_genuine_files_are_the_hard_ones(speech_data_dir):
    channels = set()
    for name in GENUINE:
        path = wav_of(speech_data_dir, name)
        info = soundfile.info(path)
        channels.add(info.channels)
        assert info.samplerate == 48000
        with open(path, "rb") as file:
            assert file.read(5000).find(b"data") > 44
    assert channels == {1, 2}


def test_flac_is_read_without_loss(speech_data_dir):
    path = flac_of(speech_data_dir, MONO)
    expected, _ = soundfile.read(path, dtype="int16")
    np.testing.assert_array_equal(reading.load(path) / LSB, expected)


# Forms of PCM.


def test_data_behind_other_chunks(tmp_path):
    samples = np.arange(-4000, 4000, dtype=np.int16)
    odd = chunk(b"FLLR", b"\x7f" * 4001) + chunk(b"LIST", b"INFOISFT\x04\0\0\0abc\0")
    (tmp_path / "a.wav").write_bytes(riff(odd, PCM16_MONO, odd, chunk(b"data", samples.tobytes()), odd))
    np.testing.assert_array_equal(reading.load(str(tmp_path / "a.wav")) / LSB, samples)


def test_24_bits_keep_their_scale_and_their_low_bits(tmp_path):
    values = np.random.default_rng(0).integers(-(2**23), 2**23, 4000)
    values[:4] = (2**23 - 1, -(2**23), 1, -1)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 3, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes(b"".join(int(v).to_bytes(3, "little", signed=True) for v in values))
    np.testing.assert_array_equal(reading.load(str(tmp_path / "a.wav")) * 2.0**23, values)


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_U8", 1 / 128), ("PCM_16", LSB), ("PCM_32", 2**-24), ("FLOAT", 2**-24), ("DOUBLE", 2**-24)]
)
def test_other_sample_formats(tmp_path, subtype, step):
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE_HZ, subtype=subtype)
    np.testing.assert_allclose(reading.load(str(tmp_path / "a.wav")), tone(), atol=step)


def test_channels_are_averaged(tmp_path):
    left, right = tone(), tone(amplitude=0.1)[::-1]
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(reading.load(str(tmp_path / "a.wav")), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("sample_rate_hz", [8000, 11025, 22050, 24414, 44100, 48000, 96000])
def test_any_rate_becomes_16_khz(tmp_path, sample_rate_hz):
    soundfile.write(tmp_path / "a.wav", tone(sample_rate_hz, sample_rate_hz), sample_rate_hz, subtype="FLOAT")
    samples = reading.load(str(tmp_path / "a.wav"))
    assert samples.dtype == np.float32 and abs(len(samples) - SAMPLE_RATE_HZ) <= 1
    middle = slice(4000, 12000)  # away from the ends, where the resampler sees a tone that begins from nothing
    np.testing.assert_allclose(samples[middle], tone()[middle], atol=1e-3)


def test_what_16_khz_cannot_hold_does_not_fold_back():
    high = np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000)
    assert np.abs(reading.resample(high, 48000)[4000:12000]).max() < 1e-3


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read(tmp_path):
    data = b"data" + struct.pack("<I", 0xFFFFFFFF) + (tone() * 32767).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(riff(PCM16_MONO, data, length=0xFFFFFFFF))
    assert len(reading.load(str(tmp_path / "a.wav"))) == SAMPLE_RATE_HZ


# Sizes of RIFF and data that SoX, arecord, ffmpeg and interrupted programs leave behind; the second is often the first + 36.
@pytest.mark.parametrize(
    ("riff_bytes", "data_bytes"),
    [(0, 0), (36, 0), (0x7FFFF024, 0x7FFFF000), (0x80000024, 0x80000000), (0xFFFFFFFF, 0xFFFFFFDB)],
)
@SPANS
def test_sizes_that_were_never_completed(tmp_path, riff_bytes, data_bytes, span):
    values = (tone() * 32767).astype("<i2")
    data = b"data" + struct.pack("<I", data_bytes) + values.tobytes()
    (tmp_path / "a.wav").write_bytes(riff(PCM16_MONO, data, length=riff_bytes))
    expected = values if span is None else values[1600:8000]
    np.testing.assert_array_equal(reading.load(str(tmp_path / "a.wav"), span=span) / LSB, expected)


@pytest.mark.parametrize("riff_bytes", [None, 0, 0xFFFFFFFF])
@SPANS
def test_sound_cut_short_where_the_first_size_does_not_show_it(tmp_path, riff_bytes, span):
    data = b"data" + struct.pack("<I", 32000) + (tone() * 32767).astype("<i2").tobytes()[:20000]
    (tmp_path / "a.wav").write_bytes(riff(PCM16_MONO, data, length=riff_bytes))
    expected = "FILE is truncated: its header announces 32000 bytes of sound, it has 20000."
    assert refusal(tmp_path / "a.wav", span=span) == expected


def test_a_size_of_sound_that_counts_the_headers_is_read(tmp_path):
    data = b"data" + struct.pack("<I", 32044) + (tone() * 32767).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(riff(PCM16_MONO, data))
    assert len(reading.load(str(tmp_path / "a.wav"))) == SAMPLE_RATE_HZ


# Floating-point samples beyond 1.


@pytest.mark.parametrize(("peak", "scale"), [(1.5, 1.5), (9830, 2**15), (32768, 2**15), (2.5e6, 2**23), (6e8, 2**31)])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_numbers_beyond_1_are_scaled_and_it_is_told(tmp_path, peak, scale, subtype):
    samples = tone(amplitude=1) / np.abs(tone(amplitude=1)).max() * peak
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE_HZ, subtype=subtype)
    with pytest.warns(KserWarning, match=f"a.wav has samples beyond 1 and was divided by {scale:g}.$".replace("+", r"\+")):
        found = reading.load(str(tmp_path / "a.wav"))
    np.testing.assert_allclose(found, samples / scale, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("error")
def test_full_scale_is_left_as_it_is(tmp_path):
    samples = np.clip(tone(amplitude=2), -1, 1)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(reading.load(str(tmp_path / "a.wav")), samples)


# Compressed formats.


def resembles(samples: np.ndarray, amplitude: float = 0.3) -> bool:
    """Whether (num_samples,) at 16 kHz are a second of the tone, but for delay and noise of an encoder."""
    spectrum = np.abs(np.fft.rfft(samples[4000:12000] * np.hanning(8000)))
    level = np.sqrt(2 * np.mean(samples[4000:12000] ** 2))
    return 2 * spectrum.argmax() == 440 and abs(level - amplitude) < 0.05 and abs(len(samples) - SAMPLE_RATE_HZ) < 2500


LOSSY = pytest.mark.parametrize(
    ("name", "kind", "subtype"),
    [
        ("a.mp3", "MP3", "MPEG_LAYER_III"),
        ("a.ogg", "OGG", "VORBIS"),
        ("a.opus", "OGG", "OPUS"),
        ("a.aiff", "AIFF", "PCM_16"),
        ("misnamed.wav", "MP3", "MPEG_LAYER_III"),
    ],
)


@LOSSY
@pytest.mark.filterwarnings("error")
def test_formats_of_libsndfile(tmp_path, name, kind, subtype):
    soundfile.write(tmp_path / name, tone(), SAMPLE_RATE_HZ, format=kind, subtype=subtype)
    whole = reading.load(str(tmp_path / name))
    assert resembles(whole)
    part = reading.load(str(tmp_path / name), span=(0.25, 0.75))
    assert len(part) == 8000 and np.abs(part).max() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("cut", [1, 40, 300])
@LOSSY
def test_a_compressed_file_that_is_almost_empty(tmp_path, name, kind, subtype, cut):
    soundfile.write(tmp_path / name, tone(), SAMPLE_RATE_HZ, format=kind, subtype=subtype)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:cut])
    refusal(tmp_path / name)


@pytest.mark.parametrize("cut", [0.5, -50])
def test_truncated_mp3(tmp_path, cut, capfd):
    soundfile.write(tmp_path / "a.mp3", np.tile(tone(), 3), SAMPLE_RATE_HZ)
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(data[: int(cut * len(data)) if isinstance(cut, float) else cut])
    assert refusal(tmp_path / "a.mp3").startswith("FILE is truncated: its header announces ")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_truncated_ogg_is_told(tmp_path, subtype):
    noise = 0.1 * np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE_HZ)  # of several pages
    soundfile.write(tmp_path / "a.ogg", noise, SAMPLE_RATE_HZ, subtype=subtype)
    data = (tmp_path / "a.ogg").read_bytes()
    (tmp_path / "a.ogg").write_bytes(data[: len(data) // 2])
    with pytest.warns(KserWarning, match="a.ogg ends without the mark of its end and may be cut short.$"):
        assert len(reading.load(str(tmp_path / "a.ogg"))) > 0.5 * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    "content", [b"This is a text.\n", bytes(5000), b"<html>\xff\xff</html>", b"ID3\x03\0\0\0\0\0\x05" + bytes(900)]
)
def test_an_mp3_that_is_none(tmp_path, content, capfd):
    (tmp_path / "a.mp3").write_bytes(content)
    assert "is not a readable audio file" in refusal(tmp_path / "a.mp3")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "options", [("a.mp3", "-write_xing", "0"), ("a.mp3", "-id3v2_version", "3", "-metadata", "title=x"), ("a.wav",)]
)
def test_mp3_with_and_without_an_index_and_in_a_wav(m4a, tmp_path, options):
    path = str(tmp_path / options[0])
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "source.wav", "-c:a", "libmp3lame", *options[1:], path]
    subprocess.run(command, check=True)
    assert resembles(reading.load(path))


@pytest.mark.filterwarnings("error")
def test_mp3_of_variable_bit_rate_without_an_index_is_read_to_its_end(m4a, tmp_path, monkeypatch):
    """libsndfile takes its first second, which needs many bits, for all of it."""
    sound = np.concatenate([0.3 * np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ), 0.01 * np.tile(tone(), 5)])
    soundfile.write(tmp_path / "vbr.wav", sound, SAMPLE_RATE_HZ)
    options = ("-c:a", "libmp3lame", "-q:a", "2", "-write_xing", "0")
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "vbr.wav", *options, tmp_path / "vbr.mp3"], check=True)
    assert soundfile.info(tmp_path / "vbr.mp3").duration < 4
    assert abs(len(reading.load(str(tmp_path / "vbr.mp3"))) - 6 * SAMPLE_RATE_HZ) < 2500
    assert len(reading.load(str(tmp_path / "vbr.mp3"), span=(5.0, 5.5))) == 8000
    monkeypatch.setenv("PATH", "")
    assert refusal(tmp_path / "vbr.mp3").startswith("FILE is of a format that needs ffmpeg;")


@pytest.fixture
def m4a(tmp_path) -> str:
    if not shutil.which("ffmpeg"):
        pytest.skip("no ffmpeg")
    soundfile.write(tmp_path / "source.wav", tone(44100, 44100), 44100)
    path = str(tmp_path / "a.m4a")
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "source.wav", "-b:a", "96k", path], check=True)
    return path


@pytest.mark.filterwarnings("error")
def test_m4a_is_read_by_ffmpeg_whatever_it_is_called(m4a, tmp_path):
    assert resembles(reading.load(m4a))
    assert len(reading.load(m4a, span=(0.25, 0.75))) == 8000
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/-i caf\xe9: 1.wav")
    os.rename(m4a, odd)
    assert resembles(reading.load(odd))


def test_m4a_without_ffmpeg_and_damaged(m4a, monkeypatch):
    with open(m4a, "rb") as file:
        data = file.read()
    with open(m4a, "wb") as file:
        file.write(data[:400])
    assert refusal(m4a).startswith("FILE is not a readable audio file (ffmpeg: ")
    monkeypatch.setenv("PATH", "")
    assert refusal(m4a) == "FILE is of a format that needs ffmpeg; install ffmpeg, or convert the file to WAV."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>Not found</html>", "(its content is a web page or XML); it must be WAV, FLAC, "),
        (b"PK\x03\x04" + bytes(100), "(its content is a ZIP archive); it must be"),
        (bytes(100), "(its content is of no known format); it must be"),
        (riff(PCM16_MONO.replace(b"\x01\0\x01\0", b"\xaa\x55\x01\0"), chunk(b"data", bytes(9000))), "convert it to WAV"),
        (riff(chunk(b"data", bytes(9000))), "of an unusual encoding"),
    ],
    ids=["html", "zip", "zeros", "encoding", "no format"],
)
def test_what_libsndfile_refuses_is_told_with_what_to_do(tmp_path, content, words):
    (tmp_path / "a.wav").write_bytes(content)
    assert words in refusal(tmp_path / "a.wav")


def test_samples_without_a_header(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(5000))
    assert refusal(tmp_path / "a.raw") == "FILE is not a readable audio file (it has no header); encode it as WAV."


def test_a_name_that_is_no_unicode(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    with open(path, "wb") as file:
        soundfile.write(file, tone(), SAMPLE_RATE_HZ, format="WAV")
    assert len(reading.load(path)) == SAMPLE_RATE_HZ


# What cannot be used.


def test_missing_file_and_directory(tmp_path):
    assert refusal(tmp_path / "none.wav") == "There is no audio file FILE."
    (tmp_path / "folder.wav").mkdir()
    assert refusal(tmp_path / "folder.wav") == "There is no audio file FILE."
    (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
    assert refusal(tmp_path / "link.wav") == "There is no audio file FILE."


def test_empty_file(tmp_path):
    (tmp_path / "a.wav").touch()
    assert refusal(tmp_path / "a.wav") == "FILE is empty."


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE_HZ)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decoding, "open", refuse, raising=False)  # root may read everything
    assert "Permission denied" in refusal(tmp_path / "a.wav")
    assert "Permission denied" in refusal(tmp_path / "a.wav", span=(0.0, 0.5))


@pytest.mark.parametrize(
    "content",
    [
        b"This is a text, whatever it is called.\n" * 100,
        b"version 1 of a text",
        bytes(5000),
        np.random.default_rng(0).bytes(5000),
        b"R",
    ],
    ids=["text", "version", "zeros", "random", "one byte"],
)
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@SPANS
def test_bytes_that_are_no_audio(tmp_path, name, content, span):
    (tmp_path / name).write_bytes(content)
    assert "is not a readable audio file" in refusal(tmp_path / name, span=span)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@SPANS
def test_a_git_lfs_pointer_is_told_from_other_texts(tmp_path, name, span):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 375720\n"
    (tmp_path / name).write_text(pointer)
    expected = "FILE is a Git LFS pointer, not the audio itself; fetch it with git lfs pull."
    assert refusal(tmp_path / name, span=span) == expected


def test_a_file_too_large_for_a_clip_of_which_a_part_may_be_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE_HZ)
    monkeypatch.setattr(reading, "MAX_BYTES", 30_000)
    assert "GB, too large for a clip of speech; cut it into utterances." in refusal(tmp_path / "a.wav")
    assert len(reading.load(str(tmp_path / "a.wav"), span=(0.1, 0.5))) == 6400


# Within the RIFF header, the chunk headers, the vendor chunk, at the beginning of the data, within a sample, near the end.
@pytest.mark.parametrize("cut", [1, 8, 11, 12, 20, 44, 2000, 4090, 4096, 4097, 0.3, 0.9, -9])
@pytest.mark.parametrize("name", [MONO, STEREO], ids=["mono", "stereo"])
def test_truncated_wav(speech_data_dir, tmp_path, name, cut):
    with open(wav_of(speech_data_dir, name), "rb") as file:
        data = file.read()
    (tmp_path / "a.wav").write_bytes(data[: int(cut * len(data)) if isinstance(cut, float) else cut])
    message = refusal(tmp_path / "a.wav")
    assert "truncated" in message or cut == 1  # with fewer than 8 bytes there is no length to compare with


@pytest.mark.parametrize("cut", [1, 4, 20, 44, 100, 4096, 0.3, 0.9, -100, -1])
def test_truncated_flac(speech_data_dir, tmp_path, cut):
    with open(flac_of(speech_data_dir, MONO), "rb") as file:
        data = file.read()
    (tmp_path / "a.flac").write_bytes(data[: int(cut * len(data)) if isinstance(cut, float) else cut])
    assert "is not a readable audio file" in refusal(tmp_path / "a.flac")


def test_damaged_flac(speech_data_dir, tmp_path):
    with open(flac_of(speech_data_dir, MONO), "rb") as file:
        data = bytearray(file.read())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    (tmp_path / "a.flac").write_bytes(data)
    assert "is not a readable audio file" in refusal(tmp_path / "a.flac")


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24)])
@pytest.mark.parametrize(("num_channels", "sample_rate_hz"), [(1, 16000), (2, 48000)])
def test_flac_keeps_every_bit(tmp_path, subtype, bits, num_channels, sample_rate_hz):
    values = np.random.default_rng(0).integers(-(1 << bits - 1), 1 << bits - 1, (5000, num_channels))
    soundfile.write(tmp_path / "a.flac", (values << 32 - bits).astype(np.int32), sample_rate_hz, subtype=subtype)
    recording = reading.read(str(tmp_path / "a.flac"))
    assert recording.sample_rate_hz == sample_rate_hz and recording.samples.dtype == np.float32
    np.testing.assert_array_equal(recording.samples * 2.0 ** (bits - 1), values)


@SPANS
def test_a_flac_that_does_not_announce_its_length(tmp_path, span):
    soundfile.write(tmp_path / "a.flac", tone(), SAMPLE_RATE_HZ)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    if span:
        assert len(reading.load(str(tmp_path / "a.flac"), span=span)) == 6400
    else:
        assert "its header announces more samples than fit into memory" in refusal(tmp_path / "a.flac")


def test_a_flac_with_some_bytes_changed_is_refused_or_read(speech_data_dir, tmp_path):
    with open(flac_of(speech_data_dir, MONO), "rb") as file:
        whole = file.read()
    rng = np.random.default_rng(0)
    for i in range(60):
        data = bytearray(whole)
        data[rng.integers(4, 26 if i % 3 == 0 else len(data))] ^= 1 << rng.integers(8)
        (tmp_path / "a.flac").write_bytes(data)
        try:
            found = reading.read(str(tmp_path / "a.flac"))
        except AudioError:
            continue
        assert np.isfinite(found.samples).all() and found.seconds < 60


def test_a_rate_too_low_for_the_features(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(8000, 8000), 8000)
    message = refusal(tmp_path / "a.wav", upper_hz=7600.0)
    assert "8000 Hz" in message and "7600 Hz" in message
    assert len(reading.load(str(tmp_path / "a.wav"), upper_hz=4000.0)) == SAMPLE_RATE_HZ


def test_six_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone()] * 6, axis=1), SAMPLE_RATE_HZ)
    assert "6 channels" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("num_samples", [0, 1, 1599])
def test_too_short(tmp_path, num_samples):
    soundfile.write(tmp_path / "a.wav", tone(num_samples), SAMPLE_RATE_HZ)
    assert f"holds {num_samples} samples at 16000 Hz" in refusal(tmp_path / "a.wav")


def test_the_shortest_that_will_do(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1600), SAMPLE_RATE_HZ)
    assert len(reading.load(str(tmp_path / "a.wav"))) == 1600


@pytest.mark.parametrize("level", [0, 0.9 * reading.SILENCE_PEAK])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_silent(tmp_path, name, level):
    soundfile.write(tmp_path / name, tone(amplitude=level), SAMPLE_RATE_HZ)
    assert "is silent" in refusal(tmp_path / name)


@pytest.mark.parametrize("louder", [0, 1])
def test_of_channels_that_cancel_the_louder_is_taken_and_it_is_told(tmp_path, louder):
    channels = [tone(), -tone()]
    channels[1 - louder] = 0.95 * channels[1 - louder]
    soundfile.write(tmp_path / "a.wav", np.stack(channels, axis=1), SAMPLE_RATE_HZ, subtype="FLOAT")
    with pytest.warns(KserWarning, match="a.wav has two channels of opposite phase, of which the louder one was taken.$"):
        samples = reading.load(str(tmp_path / "a.wav"))
    np.testing.assert_array_equal(samples, channels[louder])


@pytest.mark.filterwarnings("error")
def test_a_voice_on_one_of_two_channels_is_their_mean(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), 0 * tone()], axis=1), SAMPLE_RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(reading.load(str(tmp_path / "a.wav")), tone() / 2, atol=1e-7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, value):
    samples = tone()
    samples[5] = value
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    assert "not finite numbers" in refusal(tmp_path / "a.wav")


# Recordings as they are, and parts of them.


def test_a_recording_is_told_as_it_lies_in_the_file(tmp_path):
    stereo = np.stack([tone(24000, 48000), tone(24000, 48000, 0.1)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 48000, subtype="FLOAT")
    content = (tmp_path / "a.wav").read_bytes()
    found = reading.read(str(tmp_path / "a.wav"))
    np.testing.assert_array_equal(found.samples, stereo)
    assert found.samples.dtype == np.float32
    assert (found.sample_rate_hz, found.seconds, found.num_bytes) == (48000, 0.5, len(content))
    assert found.digest == hashlib.sha256(content).hexdigest()


def test_a_silent_recording_can_be_read_but_not_be_used(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), SAMPLE_RATE_HZ)
    found = reading.read(str(tmp_path / "a.wav"))
    assert found.seconds == 0.5
    with pytest.raises(AudioError, match="^the clip is silent"):
        reading.to_mono(found, "the clip")


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_part_is_that_of_the_whole(tmp_path, name):
    soundfile.write(tmp_path / name, np.random.default_rng(0).uniform(-0.5, 0.5, (24000, 2)), 48000)
    whole, part = (reading.read(str(tmp_path / name), span) for span in (None, (0.1, 0.35)))
    np.testing.assert_array_equal(part.samples, whole.samples[4800:16800])
    assert (part.sample_rate_hz, part.seconds, part.num_bytes) == (48000, 0.25, whole.num_bytes)


def test_the_digest_of_a_part_is_of_its_samples(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLE_RATE_HZ).astype(np.float32)
    for name, content in (("a.wav", samples), ("b.wav", np.concatenate([samples[:9000], -samples[9000:]]))):
        soundfile.write(tmp_path / name, content, SAMPLE_RATE_HZ)

    def digest(name, begin, end):
        return reading.read(str(tmp_path / name), (begin, end)).digest

    assert digest("a.wav", 0.1, 0.5) == digest("b.wav", 0.1, 0.5)
    assert len({digest("a.wav", 0.1, 0.5), digest("a.wav", 0.1, 0.6), digest("b.wav", 0.1, 0.6)}) == 3


def test_a_part_that_ends_behind_the_recording_ends_with_it(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE_HZ)
    assert len(reading.load(str(tmp_path / "a.wav"), span=(0.75, 3.0))) == 4000


@pytest.mark.parametrize("span", [(1.0, 2.0), (7.5, 8.0), (0.5, 0.5), (0.6, 0.5), (-0.5, 0.5)])
def test_a_part_that_is_not_there(tmp_path, span):
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE_HZ)
    with pytest.raises(AudioError) as error:
        reading.load(str(tmp_path / "a.wav"), span=span)
    expected = f"{tmp_path}/a.wav lasts 1.0 s and contains nothing from {span[0]:g} to {span[1]:g} s."
    assert str(error.value) == expected


# Clips of one length.


def noise() -> np.ndarray:
    return reading.microphone_noise(CONFIG.clip_samples, CONFIG.noise_dbfs)


def recording(before: int, voice: int, after: int) -> np.ndarray:
    """White noise as voice between digital silences, all in samples."""
    return np.pad(np.random.default_rng(voice).uniform(-0.5, 0.5, voice).astype(np.float32), (before, after))


@pytest.mark.parametrize("num_samples", [1, FRAME - 1, FRAME, 1600, 47999, 48000, 48001, 160000])
def test_a_clip_has_the_configured_length(num_samples):
    clip = reading.fix_clip(recording(0, num_samples, 0), CONFIG)
    assert clip.shape == (CONFIG.clip_samples,) and clip.dtype == np.float32
    assert np.isfinite(clip).all()


@pytest.mark.parametrize("before", [0, 5000, 30000, 70000])
@pytest.mark.parametrize("after", [0, 5000, 30000, 70000])
def test_the_active_part_is_in_the_middle(before, after):
    clip = reading.fix_clip(recording(before, 20000, after), CONFIG)
    loud = np.flatnonzero(np.abs(clip) > 0.1)
    # Activity is known in frames of 20 ms, so either end may be wrong by less than one.
    assert abs((loud[0] + loud[-1]) / 2 - (CONFIG.clip_samples - 1) / 2) <= FRAME
    assert loud[-1] - loud[0] > 19900  # all of it is there


def test_of_a_longer_active_part_the_middle_is_kept():
    samples = recording(0, 250 * FRAME, 0)
    start = (len(samples) - CONFIG.clip_samples) // 2
    np.testing.assert_array_equal(reading.fix_clip(samples, CONFIG), samples[start : start + CONFIG.clip_samples] + noise())


def test_what_is_35_db_below_the_voice_does_not_move_it():
    faint = recording(0, 20000, 0) * 0.01  # 40 dB down
    together = np.concatenate([recording(FRAME, 50 * FRAME, FRAME), faint])
    # What rings on in the filter may be a frame.
    np.testing.assert_allclose(reading.active_range(together), (FRAME, 51 * FRAME), atol=FRAME)


TIME = np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
DISTURBANCES = {
    "a click": np.where((TIME > 0.2) & (TIME < 0.201), 0.1, 0.0),
    "an offset": np.full(len(TIME), 0.01),
    "an offset that settles": 0.05 * np.exp(-TIME / 0.1),
    "hum": 0.02 * np.sin(2 * np.pi * 50 * TIME),
    "room noise": 10 ** (-50 / 20) * np.random.default_rng(1).standard_normal(len(TIME)),
}


@pytest.mark.parametrize("name", DISTURBANCES)
def test_disturbances_do_not_move_the_voice(name):
    """Of -26 dBFS, from 3 to 4 s."""
    voice = np.pad(0.05 * np.random.default_rng(2).standard_normal(SAMPLE_RATE_HZ), (3 * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ))
    begin, end = reading.active_range(np.float32(voice + DISTURBANCES[name]))
    assert abs(begin - 3 * SAMPLE_RATE_HZ) <= 2 * FRAME and abs(end - 4 * SAMPLE_RATE_HZ) <= 2 * FRAME


@pytest.mark.parametrize("samples", [np.zeros(1), np.zeros(48000), np.full(48000, 0.3)])
def test_where_there_is_no_voice_all_is_active(samples):
    assert reading.active_range(np.float32(samples)) == (0, len(samples))


def test_the_recording_is_only_moved_and_covered_with_noise():
    samples = recording(0, 20 * FRAME, 0)
    clip = reading.fix_clip(samples, CONFIG)
    offset = (CONFIG.clip_samples - len(samples)) // 2
    np.testing.assert_array_equal(clip[offset : offset + len(samples)], samples + noise()[offset : offset + len(samples)])


@pytest.mark.parametrize(("before", "after"), [(0, 40), (40, 0), (7, 31), (200, 300)])
def test_the_length_of_a_recording_does_not_show(before, after):
    short = recording(3 * FRAME, 50 * FRAME, 5 * FRAME)
    longer = np.pad(short, (before * FRAME, after * FRAME))
    np.testing.assert_array_equal(reading.fix_clip(longer, CONFIG), reading.fix_clip(short, CONFIG))


def test_padding_is_microphone_noise_in_the_features():
    """Frames of padding, and of digital silence within the recording, have the same mean and spread in every mel band."""
    margin = 2 * CONFIG.window_samples
    clip = reading.fix_clip(recording(8000, 8000, 8000), CONFIG)  # padded with 12000 at either end
    silence = np.concatenate(
        [log_mel_numpy(part, CONFIG) for part in (clip[12000 : 20000 - margin], clip[28000 + margin : 36000])]
    )
    padding = np.concatenate([log_mel_numpy(part, CONFIG) for part in (clip[:12000], clip[36000:])])
    # Windows overlap by half: neighbours are correlated, and count as half a sample each at worst.
    error = np.sqrt(2 * (silence.var(axis=0) / len(silence) + padding.var(axis=0) / len(padding)))
    assert np.all(np.abs(silence.mean(axis=0) - padding.mean(axis=0)) < 4 * error)
    ratio = padding.std(axis=0) / silence.std(axis=0)
    assert padding.std(axis=0).min() > 0 and 0.8 < np.exp(np.log(ratio).mean()) < 1.25
    assert padding.max() < -5  # and not the 0 of a constant fill


@pytest.mark.parametrize("level_dbfs", [-75.0, -50.0])
def test_the_noise_has_its_level_and_is_white(level_dbfs):
    samples = reading.microphone_noise(48000, level_dbfs).astype(np.float64)
    # The relative error of an RMS over n samples is 1 / sqrt(2 n): 0.3 %; four of them.
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(10 ** (level_dbfs / 20), rel=0.013)
    eighths = np.split(np.abs(np.fft.rfft(samples))[1:] ** 2, 8)
    # Each eighth of the spectrum has 3000 exponentially distributed powers: 1.8 %; four of them.
    assert np.ptp([e.mean() for e in eighths]) / np.mean(eighths) < 2 * 0.073


def test_the_noise_is_the_same_at_every_call():
    samples = recording(0, 8000, 0)
    first = reading.fix_clip(samples, CONFIG)
    kept = first.copy()
    first[:] = 1  # what a caller does to a clip does not reach the next one
    reading.microphone_noise.cache_clear()
    np.testing.assert_array_equal(reading.fix_clip(samples, CONFIG), kept)


def test_real_speech_is_never_cut_at_its_loudest(speech_data_dir):
    for name in GENUINE:
        samples = reading.load(flac_of(speech_data_dir, name))
        clip = reading.fix_clip(samples, CONFIG)
        assert np.abs(clip).max() == pytest.approx(np.abs(samples).max(), abs=1e-3)


def test_16_bits_are_rounded_and_clipped():
    samples = np.float32([0, 0.4 * LSB, 0.6 * LSB, -0.6 * LSB, 0.5, 1, 1.5, -1, -1.5])
    np.testing.assert_array_equal(reading.to_pcm16(samples), [0, 0, 1, -1, 16384, 32767, 32767, -32768, -32768])
    assert reading.to_pcm16(samples).dtype == np.int16
