#include "feature_stream.h"

#include <cstdint>
#include <vector>

#include "check.h"
#include "golden_clip.h"

namespace {

constexpr std::uint32_t kRingSamples = 4096;
constexpr int kClipSamples = kser::kWindowSamples + (kser::kNumFrames - 1) * kser::kHopSamples;

struct Listener {
  explicit Listener(std::uint32_t first_sample = 0) : ring(first_sample) { CHECK(stream.SetUp()); }

  // The next samples of the golden clip, in blocks.
  void Hear(int count, int block) {
    std::vector<std::int16_t> samples;
    for (int i = 0; i < count; ++i) {
      samples.push_back(clip.Next());
      if (static_cast<int>(samples.size()) == block || i == count - 1) {
        ring.Write(samples.data(), static_cast<std::uint32_t>(samples.size()));
        stream.Drain(&ring, work);
        samples.clear();
      }
    }
  }

  std::vector<std::int8_t> Take() {
    std::vector<std::int8_t> input(kser::kWindowValues);
    stream.Take(input.data());
    return input;
  }

  kser::GoldenClip clip;
  kser::RingBuffer<kRingSamples> ring;
  kser::FeatureStream stream;
  alignas(16) float work[kser::kFftLength];
};

std::vector<std::int8_t> WholeClip(int skipped) {
  Listener listener;
  for (int i = 0; i < skipped; ++i) listener.clip.Next();
  listener.Hear(kClipSamples, 1024);
  return listener.Take();
}

void AWindowIsFullWithItsLastSample() {
  Listener listener;
  listener.Hear(kClipSamples - 1, 160);
  CHECK(!listener.stream.DecisionDue());
  listener.Hear(1, 1);
  CHECK(listener.stream.DecisionDue());
}

void BlocksDoNotMatter() {
  for (int block : {1, 37, 160, 256, 1500}) {
    Listener listener(0xffffff00u);
    listener.Hear(kClipSamples, block);
    CHECK(listener.Take() == WholeClip(0));
  }
}

void DecisionsAreDueInTime() {
  Listener listener;
  listener.Hear(kClipSamples, 160);
  for (int round = 1; round <= 3; ++round) {
    listener.Take();
    CHECK(!listener.stream.DecisionDue());
    listener.Hear(kser::kFramesPerDecision * kser::kHopSamples - 1, 160);
    CHECK(!listener.stream.DecisionDue());
    listener.Hear(1, 160);
    CHECK(listener.stream.DecisionDue());
  }
  CHECK(listener.Take() == WholeClip(3 * kser::kFramesPerDecision * kser::kHopSamples));
}

void NoWindowSpansAGap() {
  Listener listener;
  listener.Hear(kClipSamples + 77, 160);
  const int lost = static_cast<int>(kRingSamples) + 1;
  listener.Hear(lost, lost);  // More than the ring holds: dropped as a whole, and the window begins anew.
  CHECK(listener.ring.lost_samples() == static_cast<std::uint32_t>(lost));
  CHECK(!listener.stream.DecisionDue());
  listener.Hear(kClipSamples - 1, 160);
  CHECK(!listener.stream.DecisionDue());
  listener.Hear(1, 1);
  CHECK(listener.stream.DecisionDue());
  CHECK(listener.Take() == WholeClip(kClipSamples + 77 + lost));
}

}  // namespace

int main() {
  AWindowIsFullWithItsLastSample();
  BlocksDoNotMatter();
  DecisionsAreDueInTime();
  NoWindowSpansAGap();
  return kser_test::Failures() != 0;
}
