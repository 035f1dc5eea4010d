// The whole classifier in a real TensorFlow Lite Micro.
#include "emotion_classifier.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "check.h"
#include "golden_clip.h"
#include "kser_golden.h"
#include "kser_model.h"
#include "kser_resolver.h"
#include "other_input.h"
#include "other_metadata.h"
#include "other_output.h"
#include "other_schema.h"
#include "without_metadata.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace {

int allocations = 0;

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  return std::malloc(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using kser::Status;

constexpr std::size_t kArenaBytes = 200000;
constexpr std::uint32_t kRingSamples = 4096;
constexpr int kClipSamples = kser::kWindowSamples + (kser::kNumFrames - 1) * kser::kHopSamples;

alignas(16) std::uint8_t arena[kArenaBytes];

using Resolver = tflite::MicroMutableOpResolver<kser::kNumOps>;

const Resolver& Ops() {
  static Resolver resolver;
  static const bool registered = kser::RegisterOps(&resolver) == kTfLiteOk;
  CHECK(registered);
  return resolver;
}

struct Listener {
  Status SetUp() { return classifier.SetUp(kser::kModelData, Ops(), arena, kArenaBytes); }

  // Plays samples of the golden clip.
  void Hear(int count) {
    for (int i = 0; i < count; ++i) {
      const std::int16_t sample = clip.Next();
      ring.Write(&sample, 1);
      if (i % 200 == 0 || i == count - 1) CHECK(classifier.Listen(&ring) == Status::kOk);
    }
  }

  kser::GoldenClip clip;
  kser::RingBuffer<kRingSamples> ring;
  kser::EmotionClassifier classifier;
};

void RefusesAll(Listener* listener) {
  kser::Decision decision;
  std::int8_t logits[kser::kNumClasses];
  CHECK(listener->classifier.Listen(&listener->ring) == Status::kNotSetUp);
  CHECK(listener->classifier.Decide(&decision) == Status::kNotSetUp);
  CHECK(listener->classifier.Classify(kser::kGoldenInput, logits) == Status::kNotSetUp);
  CHECK(!listener->classifier.DecisionDue());
  CHECK(listener->classifier.arena_used_bytes() == 0);
  listener->classifier.Reset();
}

void NothingWorksBeforeSetUp() {
  Listener listener;
  RefusesAll(&listener);
}

void UnfitModelsAreRefused() {
  alignas(16) static const unsigned char zeros[64] = {};
  const struct {
    const unsigned char* model;
    Status status;
  } cases[] = {
      {nullptr, Status::kNoModel},
      {zeros, Status::kNoModel},
      {without_metadata::kModelData, Status::kNoMetadata},
      {other_metadata::kModelData, Status::kOtherModel},
      {other_schema::kModelData, Status::kOtherSchema},
      {other_input::kModelData, Status::kOtherInput},
      {other_output::kModelData, Status::kOtherOutput},
  };
  for (const auto& unfit : cases) {
    Listener listener;
    CHECK(listener.classifier.SetUp(unfit.model, Ops(), arena, kArenaBytes) == unfit.status);
    RefusesAll(&listener);
  }
}

void AnArenaTooSmallOrAMissingOpIsRefused() {
  Listener listener;
  CHECK(listener.classifier.SetUp(kser::kModelData, Ops(), arena, 1024) == Status::kAllocationFailed);
  RefusesAll(&listener);
  CHECK(listener.classifier.SetUp(kser::kModelData, Ops(), nullptr, kArenaBytes) == Status::kAllocationFailed);
  RefusesAll(&listener);
  const tflite::MicroMutableOpResolver<1> none;
  CHECK(listener.classifier.SetUp(kser::kModelData, none, arena, kArenaBytes) == Status::kAllocationFailed);
  RefusesAll(&listener);
}

void SetUpAfterAFailureWorks() {
  Listener listener;
  CHECK(listener.classifier.SetUp(kser::kModelData, Ops(), arena, 1024) != Status::kOk);
  CHECK(listener.SetUp() == Status::kOk);
  CHECK(listener.SetUp() == Status::kOk);
  CHECK(listener.classifier.arena_used_bytes() > 0 && listener.classifier.arena_used_bytes() <= kArenaBytes);
}

void LogitsAreTheGoldenOnes() {
  Listener listener;
  CHECK(listener.SetUp() == Status::kOk);
  for (int round = 0; round < 2; ++round) {
    std::int8_t logits[kser::kNumClasses];
    CHECK(listener.classifier.Classify(kser::kGoldenInput, logits) == Status::kOk);
    CHECK(std::memcmp(logits, kser::kGoldenLogits, sizeof(logits)) == 0);
  }
}

void TheGoldenClipIsDecidedAsItsVectors() {
  Listener listener;
  CHECK(listener.SetUp() == Status::kOk);
  kser::Decision decision;
  listener.Hear(kClipSamples - 1);
  CHECK(listener.classifier.Decide(&decision) == Status::kNoDecisionDue);
  listener.Hear(1);
  CHECK(listener.classifier.DecisionDue());
  CHECK(listener.classifier.Decide(&decision) == Status::kOk);
  const std::int8_t* best = std::max_element(kser::kGoldenLogits, kser::kGoldenLogits + kser::kNumClasses);
  CHECK(decision.label == best - kser::kGoldenLogits);
  float probabilities[kser::kNumClasses];
  kser::Softmax(kser::kGoldenLogits, probabilities);
  for (int i = 0; i < kser::kNumClasses; ++i) {
    // A feature that rounds otherwise than NumPy's may move the output by a step or two.
    CHECK(std::abs(decision.probabilities[i] - probabilities[i]) <= 2 * kser::kOutputScale);
  }
  CHECK(!listener.classifier.DecisionDue());
}

void NextDecisionsComeInTimeAndNeedNoHeap() {
  const auto listener = std::make_unique<Listener>();
  CHECK(listener->SetUp() == Status::kOk);
  const int before = allocations;
  listener->Hear(kClipSamples);
  for (int round = 0; round < 4; ++round) {
    kser::Decision decision;
    CHECK(listener->classifier.Decide(&decision) == Status::kOk);
    CHECK(decision.label >= 0 && decision.label < kser::kNumClasses);
    listener->Hear(kser::kFramesPerDecision * kser::kHopSamples - 1);
    CHECK(listener->classifier.Decide(&decision) == Status::kNoDecisionDue);
    listener->Hear(1);
  }
  CHECK(allocations == before);
}

void InSilenceTheModelDoesNotRun() {
  const auto listener = std::make_unique<Listener>();
  CHECK(listener->SetUp() == Status::kOk);
  // The model would write over it.
  auto* const output = const_cast<std::int8_t*>(listener->classifier.logits());
  const std::int16_t silence[kser::kHopSamples] = {};
  while (!listener->classifier.DecisionDue()) {
    listener->ring.Write(silence, kser::kHopSamples);
    CHECK(listener->classifier.Listen(&listener->ring) == Status::kOk);
  }
  for (std::int8_t poison : {std::int8_t{77}, std::int8_t{-77}}) {
    std::fill(output, output + kser::kNumClasses, poison);
    kser::Decision decision;
    CHECK(listener->classifier.Decide(&decision) == Status::kOk);
    CHECK(decision.label == kser::kSilence && decision.loudest_dbfs < kser::kSilenceDbfs);
    for (float probability : decision.probabilities) CHECK(probability == 0.0f);
    CHECK(std::count(output, output + kser::kNumClasses, poison) == kser::kNumClasses);
    CHECK(!listener->classifier.DecisionDue());
    for (int i = 0; i < kser::kFramesPerDecision; ++i) {
      listener->ring.Write(silence, kser::kHopSamples);
      CHECK(listener->classifier.Listen(&listener->ring) == Status::kOk);
    }
    CHECK(listener->classifier.DecisionDue());
  }
}

void ResetAndOverrunBeginAnew() {
  Listener listener;
  CHECK(listener.SetUp() == Status::kOk);
  listener.Hear(kClipSamples);
  listener.classifier.Reset();
  CHECK(!listener.classifier.DecisionDue());
  listener.Hear(kClipSamples);
  CHECK(listener.classifier.DecisionDue());
  const std::vector<std::int16_t> flood(kRingSamples + 1);
  listener.ring.Write(flood.data(), static_cast<std::uint32_t>(flood.size()));
  CHECK(listener.classifier.Listen(&listener.ring) == Status::kOk);
  CHECK(!listener.classifier.DecisionDue());
  listener.Hear(kClipSamples);
  CHECK(listener.classifier.DecisionDue());
}

void EveryStatusIsASentence() {
  for (int i = 0; i <= static_cast<int>(Status::kInvokeFailed); ++i) {
    const char* message = kser::StatusMessage(static_cast<Status>(i));
    CHECK(message[std::strlen(message) - 1] == '.');
    CHECK(std::strcmp(message, "Unknown status.") != 0);
  }
}

}  // namespace

int main() {
  NothingWorksBeforeSetUp();
  UnfitModelsAreRefused();
  AnArenaTooSmallOrAMissingOpIsRefused();
  SetUpAfterAFailureWorks();
  LogitsAreTheGoldenOnes();
  TheGoldenClipIsDecidedAsItsVectors();
  NextDecisionsComeInTimeAndNeedNoHeap();
  InSilenceTheModelDoesNotRun();
  ResetAndOverrunBeginAnew();
  EveryStatusIsASentence();
  return kser_test::Failures() != 0;
}
