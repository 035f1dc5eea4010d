// The frames a decision is made of: a ring of unnormalized log-mel, normalized and quantized when it is asked for.
//
// A clip's own level, which kser subtracts before it normalizes (kRemoveLevel), is the mean over the very frames that are
// classified. It changes with every frame, and so does each normalized value: the ring must keep them without it. Kept as
// integers, their sum is exact, however long the stream.
#ifndef KSER_FEATURE_WINDOW_H_
#define KSER_FEATURE_WINDOW_H_

#include <cstdint>

#include "kser_settings.h"
#include "log_mel.h"

namespace kser {

constexpr int kWindowValues = kNumFrames * kNumMels;

static_assert(sizeof(kMelGain) / sizeof(kMelGain[0]) == kNumMels, "kMelGain must hold kNumMels numbers");
static_assert(sizeof(kMelCentre) / sizeof(kMelCentre[0]) == kNumMels, "kMelCentre must hold kNumMels numbers");
static_assert(sizeof(FeatureCode) <= 2, "a sum of codes would not fit in 32 bits");
static_assert(kWindowValues <= 0x7fffffff >> (8 * sizeof(FeatureCode) - 1), "a sum of codes would not fit in 32 bits");

class FeatureWindow {
 public:
  void Reset();

  // Appends a frame in place of the oldest one.
  void Add(const Frame& frame);

  bool Full() const { return num_frames_ == kNumFrames; }

  // The model's input, (kNumFrames, kNumMels), oldest frame first; only when Full().
  void Quantize(std::int8_t* input) const;

  // Level of the loudest frame there is, rounded to whole dB.
  float LoudestDbfs() const;

 private:
  void QuantizeFrames(int begin, int end, const float* centre, std::int8_t* input) const;

  FeatureCode codes_[kNumFrames][kNumMels];
  std::int8_t dbfs_[kNumFrames];
  std::int32_t sum_ = 0;  // Of all codes, once the window is full.
  int next_ = 0;          // The frame to be replaced: the oldest, once the window is full.
  int num_frames_ = 0;
};

}  // namespace kser

#endif  // KSER_FEATURE_WINDOW_H_
