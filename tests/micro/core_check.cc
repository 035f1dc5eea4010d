// The golden clip through ring buffer, front end, window and smoother: prints what must be the same on every machine, and on
// an emulated one what it costs.
#include <cstdint>
#include <cstring>

#include "feature_stream.h"
#include "golden_clip.h"
#include "log_mel.h"
#include "machine.h"
#include "ring_buffer.h"
#include "score_smoother.h"

namespace {

using kser_test::PrintLine;
using kser_test::Ticks;

constexpr int kRepeats = 50;
constexpr std::uint32_t kRingSamples = 2048;
constexpr std::uint32_t kFirstSample = 0xffffff00u;  // Soon wraps.

kser::RingBuffer<kRingSamples> ring(kFirstSample);
kser::FeatureStream stream;
kser::ScoreSmoother smoother;
kser::LogMel log_mel;
kser::FeatureWindow window;
alignas(16) float work[kser::kFftLength];
std::int8_t input[kser::kWindowValues];

// Prints the ticks of `kRepeats` calls.
template <typename Function>
void Measure(const char* name, Function function) {
  const std::uint32_t begin = Ticks();
  for (int i = 0; i < kRepeats; ++i) function();
  PrintLine(name, Ticks() - begin);
}

// Its instructions are known: 4 for each of 250 000 rounds.
void MeasureKnownLoop() {
  const std::uint32_t begin = Ticks();
#if defined(__thumb2__)
  std::uint32_t rounds = 250000;
  asm volatile("1: nop\n nop\n subs %0, %0, #1\n bne 1b" : "+r"(rounds) : : "cc");
#endif
  PrintLine("ticks known_loop", Ticks() - begin);
}

std::uint32_t Bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

void NextBlock(kser::GoldenClip* clip, std::int16_t* samples, int count) {
  for (int i = 0; i < count; ++i) samples[i] = clip->Next();
}

void Features() {
  kser::GoldenClip clip;
  std::int16_t block[kser::kHopSamples];
  while (!stream.DecisionDue()) {
    NextBlock(&clip, block, kser::kHopSamples);
    ring.Write(block, kser::kHopSamples);
    stream.Drain(&ring, work);
  }
  PrintLine("loudest_dbfs", static_cast<std::uint32_t>(-stream.window().LoudestDbfs()));
  stream.Take(input);
  for (int frame = 0; frame < kser::kNumFrames; ++frame) {
    std::uint32_t row[kser::kNumMels];
    for (int m = 0; m < kser::kNumMels; ++m) row[m] = static_cast<std::uint8_t>(input[frame * kser::kNumMels + m]);
    PrintLine("input", row, kser::kNumMels);
  }
}

void Overrun() {
  std::int16_t block[kser::kHopSamples] = {};
  for (std::uint32_t i = 0; i < 2 * kRingSamples; i += kser::kHopSamples) ring.Write(block, kser::kHopSamples);
  const bool recovered = ring.Recover();
  const std::uint32_t numbers[] = {ring.sample_count(), ring.lost_samples(), ring.overruns(), recovered, ring.Available()};
  PrintLine("ring", numbers, 5);
}

// Scores that lead now for one class, now for another.
void Logits(int round, std::int8_t* logits) {
  for (int i = 0; i < kser::kNumClasses; ++i) logits[i] = static_cast<std::int8_t>((round * 37 + i * 53) % 97 - 48);
}

void Smooth() {
  std::int8_t logits[kser::kNumClasses];
  for (int round = 0; round < 40; ++round) {
    Logits(round / 7, logits);
    const kser::Decision decision = smoother.Update(logits, round % 16 == 15 ? -140.0f : -20.0f);
    PrintLine("label", static_cast<std::uint32_t>(decision.label + 1));
    std::uint32_t bits[kser::kNumClasses];
    for (int i = 0; i < kser::kNumClasses; ++i) bits[i] = Bits(decision.probabilities[i]);
    PrintLine("probabilities", bits, kser::kNumClasses);
  }
}

void Sizes() {
  PrintLine("bytes ring", sizeof(ring));
  PrintLine("bytes log_mel", sizeof(log_mel));
  PrintLine("bytes work", sizeof(work));
  PrintLine("bytes window", sizeof(window));
  PrintLine("bytes stream", sizeof(stream));
  PrintLine("bytes smoother", sizeof(smoother));
}

void Costs() {
  MeasureKnownLoop();
  kser::GoldenClip clip;
  kser::Frame frame;
  std::int16_t block[kser::kHopSamples];
  log_mel.SetUp();
  NextBlock(&clip, log_mel.Advance(), kser::kWindowSamples);
  NextBlock(&clip, block, kser::kHopSamples);
  Measure("ticks log_mel_frame", [&] { log_mel.Compute(work, &frame); });
  Measure("ticks advance", [&] { log_mel.Advance(); });
  while (!window.Full()) window.Add(frame);
  Measure("ticks window_add", [&] { window.Add(frame); });
  Measure("ticks ring_hop", [&] {
    ring.Write(block, kser::kHopSamples);
    ring.Read(block, kser::kHopSamples);
  });
  Measure("ticks window_quantize", [&] { window.Quantize(input); });
  Measure("ticks window_loudest", [&] { window.LoudestDbfs(); });
  std::int8_t logits[kser::kNumClasses];
  Logits(3, logits);
  Measure("ticks smoother_update", [&] { smoother.Update(logits, -20.0f); });
}

}  // namespace

int main() {
  if (!stream.SetUp()) return 1;
  Features();
  Overrun();
  Smooth();
  Sizes();
  Costs();
  return 0;
}
