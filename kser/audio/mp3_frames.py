"""The frames of an MP3: where they begin, what their index announces, and whether their bit rate is constant.

A variable bit rate without an index leaves the length unknown until all frames were counted; libsndfile estimates it from
the first frames and reads no further.
"""

from __future__ import annotations

import re
import struct

# By the version's two bits: kilobits per second of Layer III, sample rates, and bytes of a frame by bits per sample.
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_VERSIONS = {
    3: (_KBPS_1, (44100, 48000, 32000), 144),
    2: (_KBPS_2, (22050, 24000, 16000), 72),
    0: (_KBPS_2, (11025, 12000, 8000), 72),
}
_SEARCH_BYTES, _INDEX_BYTES = 65536, 200


def first_frame(data: bytes) -> int:
    """Where the first frame begins, behind an ID3 tag; -1 if there is none."""
    tag_bytes = 0
    if data.startswith(b"ID3"):
        tag_bytes = 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=False))
    found = re.search(rb"\xff[\xe0-\xfe]", data[tag_bytes : tag_bytes + _SEARCH_BYTES])
    return tag_bytes + found.start() if found else -1


def announced_bytes(data: bytes, begin: int) -> int:
    """The bytes of sound that an index in the first frame, at `begin`, announces; 0 if there is none."""
    found = re.search(rb"Xing|Info", data[begin : begin + _INDEX_BYTES])
    if not found:
        return 0
    place = begin + found.end()
    flags, *fields = struct.unpack(">3I", data[place : place + 12].ljust(12, b"\0"))
    return fields[flags & 1] if flags & 2 else 0


def has_constant_bit_rate(data: bytes, begin: int) -> bool:
    """Whether all frames from `begin` on, as far as they are of Layer III, have one bit rate."""
    rates = set()
    while (frame := _frame(data[begin : begin + 4])) is not None and len(rates) < 2:
        rate, num_bytes = frame
        rates.add(rate)
        begin += num_bytes
    return len(rates) < 2


def _frame(head: bytes) -> tuple[int, int] | None:
    """A frame's kilobits per second and its bytes; None if the header is none of Layer III."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate, frequency = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in _VERSIONS or not 0 < rate < 15 or frequency > 2:
        return None
    kbps, sample_rates_hz, factor = _VERSIONS[version]
    return kbps[rate], factor * 1000 * kbps[rate] // sample_rates_hz[frequency] + (head[2] >> 1 & 1)
