#include "score_smoother.h"

#include <algorithm>
#include <cmath>

namespace kser {

void Softmax(const std::int8_t* logits, float* probabilities) {
  const int largest = *std::max_element(logits, logits + kNumClasses);
  float sum = 0.0f;
  for (int i = 0; i < kNumClasses; ++i) {
    probabilities[i] = std::exp(kOutputScale * static_cast<float>(logits[i] - largest));
    sum += probabilities[i];
  }
  for (int i = 0; i < kNumClasses; ++i) probabilities[i] /= sum;
}

void ScoreSmoother::Reset() {
  next_ = 0;
  count_ = 0;
  label_ = kSilence;
  stayed_ = 0;
}

Decision ScoreSmoother::Update(const std::int8_t* logits, float loudest_dbfs) {
  if (IsSilent(loudest_dbfs)) return Silence(loudest_dbfs);
  Decision decision{};
  decision.loudest_dbfs = loudest_dbfs;
  Softmax(logits, history_[next_]);
  next_ = next_ + 1 == kAverageDecisions ? 0 : next_ + 1;
  if (count_ < kAverageDecisions) ++count_;
  Average(decision.probabilities);
  Choose(decision.probabilities);
  decision.label = label_;
  return decision;
}

Decision ScoreSmoother::Silence(float loudest_dbfs) {
  Reset();
  Decision decision{};
  decision.label = kSilence;
  decision.loudest_dbfs = loudest_dbfs;
  return decision;
}

// Summed anew each time, so that no rounding adds up.
void ScoreSmoother::Average(float* average) const {
  std::fill(average, average + kNumClasses, 0.0f);
  for (int row = 0; row < count_; ++row) {
    for (int i = 0; i < kNumClasses; ++i) average[i] += history_[row][i];
  }
  for (int i = 0; i < kNumClasses; ++i) average[i] /= static_cast<float>(count_);
}

void ScoreSmoother::Choose(const float* average) {
  const int best = static_cast<int>(std::max_element(average, average + kNumClasses) - average);
  const bool moves = label_ == kSilence || (best != label_ && stayed_ >= kDwellDecisions &&
                                            average[best] - average[label_] >= kHysteresis);
  if (moves) {
    label_ = best;
    stayed_ = 0;
  }
  if (stayed_ < kDwellDecisions) ++stayed_;
}

}  // namespace kser
