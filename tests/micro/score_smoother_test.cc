#include "score_smoother.h"

#include <cmath>
#include <cstdint>

#include "check.h"

// Settings of this test: averages of 3 decisions, a lead of 0.1, a stay of 2, silence below -60.
static_assert(kser::kAverageDecisions == 3 && kser::kDwellDecisions == 2 && kser::kNumClasses >= 3, "other settings");

namespace {

constexpr float kLoud = -20.0f;
constexpr float kQuiet = -60.5f;

// Scores that lead for one class by so many steps of the output.
struct Scores {
  Scores(int label, int lead) {
    for (std::int8_t& logit : logits) logit = -40;
    logits[label] = static_cast<std::int8_t>(-40 + lead);
  }
  std::int8_t logits[kser::kNumClasses];
};

constexpr int kSure = 160;

int Update(kser::ScoreSmoother* smoother, int label, int lead = kSure, float loudest_dbfs = kLoud) {
  return smoother->Update(Scores(label, lead).logits, loudest_dbfs).label;
}

void ProbabilitiesAreTheSoftmax() {
  const Scores scores(1, 100);
  float probabilities[kser::kNumClasses];
  kser::Softmax(scores.logits, probabilities);
  const double lead = std::exp(100.0 * kser::kOutputScale);
  const double sum = lead + kser::kNumClasses - 1;
  for (int i = 0; i < kser::kNumClasses; ++i) CHECK(std::abs(probabilities[i] - (i == 1 ? lead : 1) / sum) < 1e-6);
}

void TheFirstDecisionIsThatOfTheModel() {
  for (int label = 0; label < kser::kNumClasses; ++label) {
    kser::ScoreSmoother smoother;
    CHECK(Update(&smoother, label, 1) == label);
  }
}

void ProbabilitiesAreAveragedOverTheLastDecisions() {
  kser::ScoreSmoother smoother;
  float sure[kser::kNumClasses];
  kser::Softmax(Scores(0, kSure).logits, sure);
  Update(&smoother, 2);
  Update(&smoother, 1);
  Update(&smoother, 1);
  const kser::Decision decision = smoother.Update(Scores(0, kSure).logits, kLoud);  // The first one has left.
  CHECK(std::abs(decision.probabilities[0] - (sure[0] + 2 * sure[1]) / 3) < 1e-6f);
  CHECK(std::abs(decision.probabilities[1] - (2 * sure[0] + sure[1]) / 3) < 1e-6f);
  CHECK(std::abs(decision.probabilities[2] - sure[1]) < 1e-6f);
  CHECK(decision.loudest_dbfs == kLoud);
}

void ALabelStaysForItsTime() {
  kser::ScoreSmoother smoother;
  CHECK(Update(&smoother, 0, 1) == 0);  // Hardly sure: the average is with class 1 at once.
  CHECK(Update(&smoother, 1) == 0);
  CHECK(Update(&smoother, 1) == 1);
}

void ASmallLeadChangesNothing() {
  kser::ScoreSmoother smoother;
  for (int i = 0; i < 4; ++i) CHECK(Update(&smoother, 0, 2) == 0);
  for (int i = 0; i < 8; ++i) CHECK(Update(&smoother, 1, 2) == 0);
  CHECK(Update(&smoother, 1) == 1);
}

void SilenceIsNoEmotionAndForgets() {
  kser::ScoreSmoother smoother;
  CHECK(Update(&smoother, 0) == 0);
  const kser::Decision silent = smoother.Update(Scores(0, kSure).logits, kQuiet);
  CHECK(silent.label == kser::kSilence);
  for (float probability : silent.probabilities) CHECK(probability == 0.0f);
  CHECK(Update(&smoother, 1, 1) == 1);  // Neither the label before nor its scores hold it back.
}

void TheGateIsAtItsLevel() {
  kser::ScoreSmoother smoother;
  CHECK(Update(&smoother, 0, kSure, kser::kSilenceDbfs) == 0);
  CHECK(Update(&smoother, 0, kSure, kser::kSilenceDbfs - 1) == kser::kSilence);
}

void ResetForgets() {
  kser::ScoreSmoother smoother;
  for (int i = 0; i < 5; ++i) Update(&smoother, 0);
  smoother.Reset();
  CHECK(Update(&smoother, 1, 1) == 1);
}

}  // namespace

int main() {
  ProbabilitiesAreTheSoftmax();
  TheFirstDecisionIsThatOfTheModel();
  ProbabilitiesAreAveragedOverTheLastDecisions();
  ALabelStaysForItsTime();
  ASmallLeadChangesNothing();
  SilenceIsNoEmotionAndForgets();
  TheGateIsAtItsLevel();
  ResetForgets();
  return kser_test::Failures() != 0;
}
