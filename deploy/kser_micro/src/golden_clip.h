// A clip every board can make for itself, to compare its features with those the PC made of the same samples.
#ifndef KSER_GOLDEN_CLIP_H_
#define KSER_GOLDEN_CLIP_H_

#include <cstdint>

namespace kser {

// Sample after sample of `golden_clip` in kser/firmware/codegen.py: a sawtooth whose pitch wanders, over noise of a linear
// congruential generator, both swelling and falling.
class GoldenClip {
 public:
  std::int16_t Next() {
    noise_ = noise_ * 1664525u + 1013904223u;
    phase_ += 0x01000000u + (Triangle(index_ >> 3) << 10);
    const std::int32_t loudness = static_cast<std::int32_t>(Triangle(index_ << 3)) >> 5;
    ++index_;
    const std::int32_t saw = (static_cast<std::int32_t>(phase_) >> 18) * loudness >> 10;
    return static_cast<std::int16_t>(saw + (static_cast<std::int32_t>(noise_) >> 22));
  }

 private:
  // 0 .. 32767 .. 0 once in 65536.
  static std::uint32_t Triangle(std::uint32_t index) {
    const std::uint32_t low = index & 0xffff;
    return low < 0x8000 ? low : 0xffff - low;
  }

  std::uint32_t index_ = 0;
  std::uint32_t noise_ = 1;
  std::uint32_t phase_ = 0;
};

}  // namespace kser

#endif  // KSER_GOLDEN_CLIP_H_
