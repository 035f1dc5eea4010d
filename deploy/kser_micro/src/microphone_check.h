// Whether a microphone gives sound at all, and sound that can be used.
#ifndef KSER_MICROPHONE_CHECK_H_
#define KSER_MICROPHONE_CHECK_H_

#include <cstdint>

#include "kser_settings.h"

namespace kser {

enum class MicrophoneState { kListening, kGood, kSilent, kClipping, kOffset };

// A word for a state.
const char* MicrophoneStateName(MicrophoneState state);

// A sentence on what a state means and what to do.
const char* MicrophoneMessage(MicrophoneState state);

// Figures of a second of samples, once the microphone has had half a second to settle.
class MicrophoneCheck {
 public:
  void Add(const std::int16_t* samples, std::uint32_t count);

  bool Done() const { return num_samples_ == kLastSample; }

  // The worst that is wrong; kListening until Done.
  MicrophoneState State() const;

  // Mean of the samples, an offset that sound does not have.
  int Offset() const { return static_cast<int>(sum_ / static_cast<std::int64_t>(kMeasured)); }
  int Lowest() const { return lowest_; }
  int Highest() const { return highest_; }
  std::uint32_t Clipped() const { return clipped_; }

 private:
  static constexpr std::uint32_t kSettling = kSampleRateHz / 2;
  static constexpr std::uint32_t kMeasured = kSampleRateHz;
  static constexpr std::uint32_t kLastSample = kSettling + kMeasured;
  // The quietest microphone's noise exceeds it; a line that nothing drives does not.
  static constexpr int kSilentRange = 2;
  // Samples at either end of the scale: a click has a few of them.
  static constexpr std::uint32_t kMostClipped = kMeasured / 1000;
  // 1 % of full scale.
  static constexpr int kLargestOffset = 328;

  void AddOne(std::int16_t sample);

  std::uint32_t num_samples_ = 0;
  std::uint32_t clipped_ = 0;
  std::int64_t sum_ = 0;
  std::int16_t lowest_ = INT16_MAX;
  std::int16_t highest_ = INT16_MIN;
};

}  // namespace kser

#endif  // KSER_MICROPHONE_CHECK_H_
