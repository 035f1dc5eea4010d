// Hours of sound through ring buffer, features and smoother, as fast as they go: `stream SECONDS FIRST_SAMPLE`.
//
// Blocks come in any size; now and then the loop is kept busy until the ring overruns. Beside it runs a model of the ring with
// 64-bit counters. From time to time what came of hours is compared, to the bit, with what comes of its last seconds alone.
#include <malloc.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "check.h"
#include "feature_stream.h"
#include "golden_clip.h"
#include "ring_buffer.h"
#include "score_smoother.h"

namespace {

constexpr std::uint32_t kRingSamples = 2048;
constexpr std::uint32_t kLargestBlock = 320;
constexpr std::uint32_t kBlocksPerStall = 3000;
constexpr std::uint32_t kDecisionsPerCheck = 20;
constexpr std::uint64_t kClipSamples = kser::kWindowSamples + (kser::kNumFrames - 1) * kser::kHopSamples;
constexpr std::uint64_t kHistorySamples = 1 << 17;
static_assert(kHistorySamples > kClipSamples + kLargestBlock + kser::kHopSamples, "the history must hold a window");

// Numerical Recipes' generator.
class Random {
 public:
  std::uint32_t Below(std::uint32_t limit) {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(state_) * limit) >> 32);
  }

 private:
  std::uint32_t state_ = 12345;
};

// What the ring buffer must do, with counters that never wrap.
struct Model {
  std::uint64_t offered = 0;
  std::uint64_t lost = 0;
  std::uint64_t overruns = 0;
  std::uint64_t waiting = 0;
  std::uint64_t run = 0;  // Samples taken in since the last gap.
  bool stopped = false;

  bool Write(std::uint32_t count) {
    offered += count;
    if (stopped || waiting + count > kRingSamples) {
      lost += count;
      if (!stopped) ++overruns;
      stopped = true;
      return false;
    }
    waiting += count;
    run += count;
    return true;
  }

  void Drain() {
    if (stopped) waiting = run = 0;
    stopped = false;
    waiting = run < kser::kWindowSamples ? run : (run - kser::kWindowSamples) % kser::kHopSamples;
  }
};

// A board without a model: the scores are made of the features.
struct Device {
  explicit Device(std::uint32_t first_sample) : ring(first_sample) { CHECK(stream.SetUp()); }

  kser::RingBuffer<kRingSamples> ring;
  kser::FeatureStream stream;
  kser::ScoreSmoother smoother;
  alignas(16) float work[kser::kFftLength];
};

struct Scores {
  std::int8_t logits[kser::kNumClasses];
};

Scores ScoresOf(const std::vector<std::int8_t>& input) {
  Scores scores{};
  for (std::size_t i = 0; i < input.size(); ++i) {
    std::int8_t& logit = scores.logits[i % kser::kNumClasses];
    logit = static_cast<std::int8_t>(logit ^ (input[i] * 31 + static_cast<int>(i % 251)));
  }
  return scores;
}

class Simulation {
 public:
  explicit Simulation(std::uint32_t first_sample)
      : first_sample_(first_sample), device_(new Device(first_sample)), input_(kser::kWindowValues) {}

  void Run(std::uint64_t samples) {
    while (model_.offered < samples) {
      Block();
      if (random_.Below(kBlocksPerStall) != 0) Loop();  // Else it is kept busy,
      else Stall();                                     // and the microphone goes on.
    }
    CheckCounters();
  }

  void Print() const {
    std::printf("samples %" PRIu64 "\nwraps %" PRIu64 "\ndecisions %" PRIu64 "\noverruns %" PRIu64 "\nlost %" PRIu64
                "\nchecks %" PRIu64 "\n",
                model_.offered, (first_sample_ + model_.offered) >> 32, decisions_, model_.overruns, model_.lost, checks_);
  }

 private:
  void Block() {
    const std::uint32_t count = 1 + random_.Below(kLargestBlock);
    std::int16_t block[kLargestBlock];
    for (std::uint32_t i = 0; i < count; ++i) block[i] = clip_.Next();
    device_->ring.Write(block, count);
    const std::uint64_t begin = model_.run;
    if (!model_.Write(count)) return;
    for (std::uint32_t i = 0; i < count; ++i) history_[(begin + i) % kHistorySamples] = block[i];
  }

  void Stall() {
    const std::uint32_t blocks = random_.Below(40);
    for (std::uint32_t i = 0; i < blocks; ++i) Block();
  }

  void Loop() {
    device_->stream.Drain(&device_->ring, device_->work);
    model_.Drain();
    CHECK(device_->ring.Available() == model_.waiting);
    if (device_->stream.DecisionDue()) Decide();
  }

  void Decide() {
    device_->stream.Take(input_.data());
    const Scores scores = ScoresOf(input_);
    const kser::Decision decision = device_->smoother.Update(scores.logits, -20.0f);
    std::rotate(last_scores_, last_scores_ + 1, last_scores_ + kser::kAverageDecisions);
    last_scores_[kser::kAverageDecisions - 1] = scores;
    if (++decisions_ % kDecisionsPerCheck != 0) return;
    CheckFeatures();
    CheckAverages(decision);
    CheckCounters();
    ++checks_;
  }

  void CheckFeatures() {
    const std::uint64_t frames = (model_.run - kser::kWindowSamples) / kser::kHopSamples + 1;
    const std::uint64_t begin = (frames - kser::kNumFrames) * kser::kHopSamples;
    Device fresh(0);
    for (std::uint64_t i = 0; i < kClipSamples; ++i) {
      fresh.ring.Write(&history_[(begin + i) % kHistorySamples], 1);
      if (fresh.ring.Available() == kser::kWindowSamples) fresh.stream.Drain(&fresh.ring, fresh.work);
    }
    fresh.stream.Drain(&fresh.ring, fresh.work);
    CHECK(fresh.stream.DecisionDue());
    fresh.stream.Take(fresh_input_);
    CHECK(std::memcmp(fresh_input_, input_.data(), sizeof(fresh_input_)) == 0);
  }

  void CheckAverages(const kser::Decision& decision) const {
    kser::ScoreSmoother fresh;
    kser::Decision expected{};
    for (const Scores& scores : last_scores_) expected = fresh.Update(scores.logits, -20.0f);
    for (int i = 0; i < kser::kNumClasses; ++i) {
      // The same numbers, added up in another order.
      const float difference = decision.probabilities[i] - expected.probabilities[i];
      CHECK(difference < 1e-6f && difference > -1e-6f);
    }
  }

  void CheckCounters() const {
    CHECK(device_->ring.sample_count() == static_cast<std::uint32_t>(first_sample_ + model_.offered));
    CHECK(device_->ring.lost_samples() == static_cast<std::uint32_t>(model_.lost));
    CHECK(device_->ring.overruns() == static_cast<std::uint32_t>(model_.overruns));
  }

  const std::uint64_t first_sample_;
  const std::unique_ptr<Device> device_;
  std::vector<std::int8_t> input_;
  std::int8_t fresh_input_[kser::kWindowValues];
  std::int16_t history_[kHistorySamples];
  Scores last_scores_[kser::kAverageDecisions] = {};
  Model model_;
  Random random_;
  kser::GoldenClip clip_;
  std::uint64_t decisions_ = 0;
  std::uint64_t checks_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::uint64_t samples = std::strtoull(argv[1], nullptr, 10) * kser::kSampleRateHz;
  const auto simulation = std::make_unique<Simulation>(static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10)));
  simulation->Run(kser::kSampleRateHz);  // Whatever a library allocates once is there.
  const std::size_t before = mallinfo2().uordblks;
  simulation->Run(samples);
  const std::size_t after = mallinfo2().uordblks;
  simulation->Print();
  std::printf("heap_growth %zu\n", after - before);
  return kser_test::Failures() != 0;
}
