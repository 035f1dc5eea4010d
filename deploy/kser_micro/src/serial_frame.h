// Frames on a serial line, in both directions: magic (2 bytes), type, sequence, length (2 bytes), then the payload (length
// bytes) and the CRC-32 (IEEE 802.3) of all from the type on (4 bytes). The low byte of a number comes first.
#ifndef KSER_SERIAL_FRAME_H_
#define KSER_SERIAL_FRAME_H_

#include <cstdint>

namespace kser {

constexpr int kFrameHeaderBytes = 6;
constexpr int kMaxPayloadBytes = 512;
constexpr int kFrameCrcBytes = 4;
constexpr int kMaxFrameBytes = kFrameHeaderBytes + kMaxPayloadBytes + kFrameCrcBytes;

std::uint32_t Crc32(const std::uint8_t* data, int count);

// Finds frames among bytes of which some may be lost, damaged, or none of ours.
class FrameReader {
 public:
  void Add(std::uint8_t byte) { bytes_[received_++] = byte; }

  // Whether a whole frame has come; to be asked before each Add. Passes over bytes that begin none.
  bool HasFrame();

  // Of the frame that has come.
  std::uint8_t type() const { return bytes_[2]; }
  std::uint8_t sequence() const { return bytes_[3]; }
  int payload_bytes() const { return bytes_[4] | bytes_[5] << 8; }
  const std::uint8_t* payload() const { return bytes_ + kFrameHeaderBytes; }
  std::uint32_t Get32(int offset) const;

  // Goes on to what comes after that frame.
  void Next() { Drop(FrameBytes()); }

 private:
  enum class State { kNoFrame, kPart, kWhole };

  int FrameBytes() const { return kFrameHeaderBytes + payload_bytes() + kFrameCrcBytes; }
  State Examine() const;
  void Drop(int count);

  std::uint8_t bytes_[kMaxFrameBytes];
  int received_ = 0;
};

// Makes a frame. What does not fit is left out.
class FrameWriter {
 public:
  void Begin(std::uint8_t type, std::uint8_t sequence);
  void Put8(std::uint32_t value);
  void Put32(std::uint32_t value);
  void PutFloat(float value);
  void PutBytes(const void* data, int count);
  void PutText(const char* text);
  void End();

  const std::uint8_t* bytes() const { return bytes_; }
  int size() const { return size_; }

 private:
  std::uint8_t bytes_[kMaxFrameBytes];
  int size_ = 0;
};

}  // namespace kser

#endif  // KSER_SERIAL_FRAME_H_
