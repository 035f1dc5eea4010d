// Samples of I2S microphones.
#ifndef KSER_I2S_SLOT_H_
#define KSER_I2S_SLOT_H_

#include <cstdint>

namespace kser {

// Makes 16-bit samples of the 32-bit slots of microphones such as INMP441 (24 significant bits at the top) and SPH0645 (18 of
// them, and an offset of several percent of full scale). The lowest bits hold nothing and are dropped.
//
// Full scale is far too wide for speech: these microphones give it at 120 dB sound pressure, where speech from a metre has 60.
// So a sample is a slot amplified by 24 dB, clipped, and without the mean of the last 2048 slots or so (a high pass at 1.2 Hz).
class I2sSlotConverter {
 public:
  std::int16_t Convert(std::int32_t slot) {
    const std::int32_t value = slot >> kShift;
    if (!started_) mean_ = value * (1 << kMeanBits);
    started_ = true;
    mean_ += value - (mean_ >> kMeanBits);
    const std::int32_t sample = value - (mean_ >> kMeanBits);
    return static_cast<std::int16_t>(sample < -32768 ? -32768 : (sample > 32767 ? 32767 : sample));
  }

 private:
  static constexpr int kShift = 12;     // Of 16 for 0 dB.
  static constexpr int kMeanBits = 11;  // With 20 bits of value, the mean has 31.

  std::int32_t mean_ = 0;  // Times 2^kMeanBits.
  bool started_ = false;
};

}  // namespace kser

#endif  // KSER_I2S_SLOT_H_
