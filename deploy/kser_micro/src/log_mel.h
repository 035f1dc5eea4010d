// The log-mel front end, frame by frame: ln(|STFT|^2 mel + kLogFloor), as kser/audio/log_mel.py defines it.
#ifndef KSER_LOG_MEL_H_
#define KSER_LOG_MEL_H_

#include <cstdint>

#include "kser_settings.h"

namespace kser {

static_assert(kHopSamples > 0 && kHopSamples <= kWindowSamples, "kHopSamples must not exceed kWindowSamples");
static_assert(kWindowSamples <= kFftLength, "kWindowSamples must not exceed kFftLength");
static_assert(sizeof(kWindow) / sizeof(kWindow[0]) == kWindowSamples, "kWindow must hold kWindowSamples numbers");
static_assert(sizeof(kMelFirstBin) / sizeof(kMelFirstBin[0]) == kNumMels + 2, "kMelFirstBin must hold kNumMels + 2 bins");
static_assert(kMelFirstBin[0] > 0, "the mel bands must leave out bin 0");
static_assert(kMelFirstBin[kNumMels + 1] <= kFftLength / 2, "the mel bands must end below half the sampling rate");
static_assert(kMelFirstBin[kNumMels + 1] - kMelFirstBin[0] == kMelBins, "kMelRise must hold a weight for every bin");

struct Frame {
  float log_mel[kNumMels];
  float power;  // Sum of the mel bands.
};

struct LogMelState {
  std::int16_t samples[kWindowSamples];  // The window, oldest first.
  bool started;                          // Whether it has been filled once.
};

class LogMel {
 public:
  // False where the FFT cannot be set up.
  bool SetUp();

  // Forgets all samples: the next frame begins with the next sample.
  void Reset() { state_.started = false; }

  // Samples the next frame needs beyond those of the last one.
  std::uint32_t SamplesNeeded() const { return state_.started ? kHopSamples : kWindowSamples; }

  // Moves on to the next frame, whose SamplesNeeded() new samples are to be put where the result points.
  std::int16_t* Advance();

  // The frame. `work` holds kFftLength numbers, 16-byte aligned, of which nothing is kept from frame to frame.
  void Compute(float* work, Frame* frame) const;

 private:
  LogMelState state_{};
};

}  // namespace kser

#endif  // KSER_LOG_MEL_H_
