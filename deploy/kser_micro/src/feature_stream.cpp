#include "feature_stream.h"

namespace kser {

bool FeatureStream::SetUp() {
  Reset();
  return log_mel_.SetUp();
}

// A window just filled is due at once, however long a decision's time.
void FeatureStream::Reset() {
  log_mel_.Reset();
  window_.Reset();
  new_frames_ = 0;
}

void FeatureStream::Take(std::int8_t* input) {
  window_.Quantize(input);
  new_frames_ = 0;
}

void FeatureStream::AddFrame(float* work) {
  Frame frame;
  log_mel_.Compute(work, &frame);
  const bool was_full = window_.Full();
  window_.Add(frame);
  // Saturates, for nobody may ask for decisions for days.
  if (new_frames_ < kFramesPerDecision) ++new_frames_;
  if (!was_full && window_.Full()) new_frames_ = kFramesPerDecision;
}

}  // namespace kser
