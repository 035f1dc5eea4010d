#include "serial_frame.h"

#include <cstddef>
#include <cstring>

namespace kser {
namespace {

// Neither is text, of which other output of the board's consists.
constexpr std::uint8_t kMagic[] = {0xa5, 0xcb};
// What the CRC leaves out.
constexpr int kMagicBytes = 2;

std::uint32_t Load32(const std::uint8_t* bytes) {
  return static_cast<std::uint32_t>(bytes[0]) | static_cast<std::uint32_t>(bytes[1]) << 8 |
         static_cast<std::uint32_t>(bytes[2]) << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
}

void Store32(std::uint32_t value, std::uint8_t* bytes) {
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

}  // namespace

// Bit by bit, for a frame takes far longer on the line.
std::uint32_t Crc32(const std::uint8_t* data, int count) {
  std::uint32_t crc = 0xffffffffu;
  for (int i = 0; i < count; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

bool FrameReader::HasFrame() {
  while (received_ > 0) {
    const State state = Examine();
    if (state != State::kNoFrame) return state == State::kWhole;
    // To the next byte that may begin one, at once: what is none of ours is moved over once, not byte by byte.
    int begin = 1;
    while (begin < received_ && bytes_[begin] != kMagic[0]) ++begin;
    Drop(begin);
  }
  return false;
}

std::uint32_t FrameReader::Get32(int offset) const { return Load32(payload() + offset); }

// A frame is never longer than bytes_: there is always room for the rest of a part.
FrameReader::State FrameReader::Examine() const {
  for (int i = 0; i < kMagicBytes && i < received_; ++i) {
    if (bytes_[i] != kMagic[i]) return State::kNoFrame;
  }
  if (received_ < kFrameHeaderBytes) return State::kPart;
  if (payload_bytes() > kMaxPayloadBytes) return State::kNoFrame;
  if (received_ < FrameBytes()) return State::kPart;
  const int end = FrameBytes() - kFrameCrcBytes;
  const bool intact = Load32(bytes_ + end) == Crc32(bytes_ + kMagicBytes, end - kMagicBytes);
  return intact ? State::kWhole : State::kNoFrame;
}

void FrameReader::Drop(int count) {
  received_ -= count;
  std::memmove(bytes_, bytes_ + count, static_cast<std::size_t>(received_));
}

void FrameWriter::Begin(std::uint8_t type, std::uint8_t sequence) {
  std::memcpy(bytes_, kMagic, kMagicBytes);
  bytes_[2] = type;
  bytes_[3] = sequence;
  size_ = kFrameHeaderBytes;
}

void FrameWriter::Put8(std::uint32_t value) {
  const std::uint8_t byte = static_cast<std::uint8_t>(value);
  PutBytes(&byte, 1);
}

void FrameWriter::Put32(std::uint32_t value) {
  std::uint8_t bytes[4];
  Store32(value, bytes);
  PutBytes(bytes, 4);
}

void FrameWriter::PutFloat(float value) {
  static_assert(sizeof(value) == 4, "floats must be those of IEEE 754");
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  Put32(bits);
}

void FrameWriter::PutBytes(const void* data, int count) {
  if (count > kFrameHeaderBytes + kMaxPayloadBytes - size_) return;
  std::memcpy(bytes_ + size_, data, static_cast<std::size_t>(count));
  size_ += count;
}

void FrameWriter::PutText(const char* text) { PutBytes(text, static_cast<int>(std::strlen(text))); }

void FrameWriter::End() {
  const int payload_bytes = size_ - kFrameHeaderBytes;
  bytes_[4] = static_cast<std::uint8_t>(payload_bytes);
  bytes_[5] = static_cast<std::uint8_t>(payload_bytes >> 8);
  Store32(Crc32(bytes_ + kMagicBytes, size_ - kMagicBytes), bytes_ + size_);
  size_ += kFrameCrcBytes;
}

}  // namespace kser
