// From the scores of overlapping windows to a label that does not flicker.
#ifndef KSER_SCORE_SMOOTHER_H_
#define KSER_SCORE_SMOOTHER_H_

#include <cstdint>

#include "kser_settings.h"

namespace kser {

static_assert(kNumClasses > 0, "kNumClasses must be positive");
static_assert(kAverageDecisions > 0, "kAverageDecisions must be positive");

constexpr int kSilence = -1;

struct Decision {
  int label;                         // Index in kLabels, or kSilence.
  float probabilities[kNumClasses];  // Averaged; in silence, zeros.
  float loudest_dbfs;                // Level of the window's loudest frame.
};

// Whether a window is silent, by its loudest frame.
inline bool IsSilent(float loudest_dbfs) { return loudest_dbfs < kSilenceDbfs; }

class ScoreSmoother {
 public:
  void Reset();

  // The decision after one more window.
  //
  // If it is silent, that of Silence. Else the label is that of the largest of the probabilities averaged over the last
  // kAverageDecisions windows, but another one takes the place of the present one only with a lead of kHysteresis, and when
  // that has stayed for kDwellDecisions.
  //
  // logits: the model's output, kNumClasses values as stored.
  Decision Update(const std::int8_t* logits, float loudest_dbfs);

  // The decision after a silent window, for which the model need not run; what was before is forgotten.
  Decision Silence(float loudest_dbfs);

 private:
  void Average(float* average) const;
  void Choose(const float* average);

  float history_[kAverageDecisions][kNumClasses];
  int next_ = 0;
  int count_ = 0;
  int label_ = kSilence;
  int stayed_ = 0;  // Decisions for which label_ has stayed.
};

// Probabilities of the model's output as stored.
void Softmax(const std::int8_t* logits, float* probabilities);

}  // namespace kser

#endif  // KSER_SCORE_SMOOTHER_H_
