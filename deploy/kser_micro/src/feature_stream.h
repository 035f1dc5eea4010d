// From samples in a ring buffer to windows of features.
#ifndef KSER_FEATURE_STREAM_H_
#define KSER_FEATURE_STREAM_H_

#include <cstdint>

#include "feature_window.h"
#include "kser_settings.h"
#include "log_mel.h"
#include "ring_buffer.h"

namespace kser {

static_assert(kFramesPerDecision > 0, "kFramesPerDecision must be positive");

class FeatureStream {
 public:
  // False where the FFT cannot be set up.
  bool SetUp();

  // Begins anew, as after a gap in the sound.
  void Reset();

  // Makes frames of all samples that wait, each frame once. After an overrun the window fills anew: none spans a gap.
  // `work` is that of LogMel::Compute.
  template <std::uint32_t kCapacity>
  void Drain(RingBuffer<kCapacity>* ring, float* work) {
    static_assert(kCapacity >= kWindowSamples, "the ring buffer must hold a window of samples");
    if (ring->Recover()) Reset();
    while (ring->Available() >= log_mel_.SamplesNeeded()) {
      const std::uint32_t count = log_mel_.SamplesNeeded();
      ring->Read(log_mel_.Advance(), count);
      AddFrame(work);
    }
  }

  // Whether the window is full and, since it was last taken, has moved on by a decision's time.
  bool DecisionDue() const { return window_.Full() && new_frames_ >= kFramesPerDecision; }

  // Takes the window as the model's input; only when window().Full().
  void Take(std::int8_t* input);

  // Lets the window go untaken, as one of silence.
  void Pass() { new_frames_ = 0; }

  const FeatureWindow& window() const { return window_; }

 private:
  void AddFrame(float* work);

  LogMel log_mel_;
  FeatureWindow window_;
  int new_frames_ = 0;
};

}  // namespace kser

#endif  // KSER_FEATURE_STREAM_H_
