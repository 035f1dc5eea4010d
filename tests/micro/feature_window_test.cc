#include "feature_window.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "check.h"

namespace {

// Frame i of an endless recording that grows louder, and falls with the band.
kser::Frame RisingFrame(int index) {
  kser::Frame frame;
  for (int m = 0; m < kser::kNumMels; ++m) {
    frame.log_mel[m] = -7.0f + 0.002f * static_cast<float>(index % 4000) + 0.03f * static_cast<float>((m * 7 + index) % 13);
  }
  frame.power = 0.01f * static_cast<float>(index);
  return frame;
}

std::vector<std::int8_t> Quantized(const kser::FeatureWindow& window) {
  std::vector<std::int8_t> input(kser::kWindowValues);
  window.Quantize(input.data());
  return input;
}

kser::FeatureWindow WindowOf(int begin, int end) {
  kser::FeatureWindow window;
  window.Reset();
  for (int i = begin; i < end; ++i) window.Add(RisingFrame(i));
  return window;
}

void ItFillsWithItsFrames() {
  CHECK(!WindowOf(0, kser::kNumFrames - 1).Full());
  CHECK(WindowOf(0, kser::kNumFrames).Full());
  CHECK(WindowOf(0, 3 * kser::kNumFrames).Full());
}

void AWindowDependsOnItsFramesAlone() {
  for (int end : {kser::kNumFrames + 1, 2 * kser::kNumFrames, 3 * kser::kNumFrames + kser::kNumFrames / 2}) {
    CHECK(Quantized(WindowOf(0, end)) == Quantized(WindowOf(end - kser::kNumFrames, end)));
  }
}

void ResetForgetsAllFrames() {
  kser::FeatureWindow window = WindowOf(500, 500 + 2 * kser::kNumFrames);
  window.Reset();
  CHECK(!window.Full());
  CHECK(window.LoudestDbfs() == -128.0f);
  for (int i = 0; i < kser::kNumFrames; ++i) window.Add(RisingFrame(i));
  CHECK(Quantized(window) == Quantized(WindowOf(0, kser::kNumFrames)));
}

// By the definition, in double: the value the code stands for, less the mean of all, normalized and in steps of the input.
void ValuesAreNormalizedByTheirDefinition() {
  std::vector<double> values;
  double sum = 0;
  for (int i = 0; i < kser::kNumFrames; ++i) {
    for (float value : RisingFrame(i).log_mel) {
      values.push_back(std::nearbyint((static_cast<double>(value) - kser::kCodeOffset) / kser::kCodeStep));
      sum += values.back();
    }
  }
  const double level = kser::kRemoveLevel ? sum / kser::kWindowValues : 0;
  const std::vector<std::int8_t> input = Quantized(WindowOf(0, kser::kNumFrames));
  int off = 0;
  for (int i = 0; i < kser::kWindowValues; ++i) {
    const int m = i % kser::kNumMels;
    const double steps = std::nearbyint((values[i] - level - kser::kMelCentre[m]) * kser::kMelGain[m]) + kser::kInputZeroPoint;
    const int difference = std::abs(static_cast<int>(std::fmin(127, std::fmax(-128, steps))) - input[i]);
    CHECK(difference <= 1);
    off += difference;
  }
  // Where the exact value lies within a rounding of float32 of a half.
  CHECK(off <= kser::kWindowValues / 200);
}

// One band at one end of what the code holds, all others at the other end.
kser::FeatureWindow Extreme(int band, float sign) {
  const float reach = kser::kCodeStep * static_cast<float>((1 << (8 * sizeof(kser::FeatureCode) - 1)) - 2);
  kser::Frame frame{};
  for (int m = 0; m < kser::kNumMels; ++m) frame.log_mel[m] = kser::kCodeOffset + (m == band ? sign : -sign) * reach;
  kser::FeatureWindow window;
  window.Reset();
  for (int i = 0; i < kser::kNumFrames; ++i) window.Add(frame);
  return window;
}

void FarValuesAreClipped() {
  CHECK(Quantized(Extreme(1, 1.0f))[1] == 127);
  if (kser::kRemoveLevel) CHECK(Quantized(Extreme(1, -1.0f))[1] == -128);
}

void TheLoudestFrameCounts() {
  kser::FeatureWindow window;
  window.Reset();
  kser::Frame frame{};
  frame.power = 1.0f / kser::kMeanSquarePerPower;  // A mean square of 1: 0 dB below full scale.
  window.Add(frame);
  CHECK(window.LoudestDbfs() == 0.0f);
  frame.power *= 1e-4f;
  for (int i = 1; i < kser::kNumFrames; ++i) window.Add(frame);
  CHECK(window.LoudestDbfs() == 0.0f);
  window.Add(frame);
  CHECK(window.LoudestDbfs() == -40.0f);
  frame.power = 0.0f;
  for (int i = 0; i < kser::kNumFrames; ++i) window.Add(frame);
  CHECK(window.LoudestDbfs() == -128.0f);
}

}  // namespace

int main() {
  ItFillsWithItsFrames();
  AWindowDependsOnItsFramesAlone();
  ResetForgetsAllFrames();
  ValuesAreNormalizedByTheirDefinition();
  FarValuesAreClipped();
  TheLoudestFrameCounts();
  return kser_test::Failures() != 0;
}
