#include "log_mel.h"

#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "complex_fft.h"
#include "fast_math.h"
#include "golden_clip.h"

namespace {

constexpr double kTwoPi = 6.283185307179586;

void LogarithmIsWithinItsBound() {
  double worst = 0;
  for (std::int32_t bits = 0x00800000; bits < 0x7f000000; bits += 9973) {
    const float x = kser::FloatOfBits(bits);
    const double exact = std::log(static_cast<double>(x));
    // The series is off by 3e-8, its terms and the sum by roundings of a float.
    const double error = std::abs(static_cast<double>(kser::FastLog(x)) - exact) / (1 + std::abs(exact));
    worst = std::max(worst, error);
  }
  CHECK(worst < 2.5e-7);
}

void RoundingIsToTheNearestAndToEven() {
  for (int i = -4000; i <= 4000; ++i) {
    const float x = static_cast<float>(i) / 8.0f;
    CHECK(kser::RoundToInt(x) == static_cast<std::int32_t>(std::nearbyint(x)));
  }
  CHECK(kser::RoundToInt(4194303.25f) == 4194303);
  CHECK(kser::RoundToInt(-4194303.25f) == -4194303);
}

void TransformIsTheSumThatDefinesIt() {
  constexpr int n = kser::kComplexFftLength;
  CHECK(kser::SetUpComplexFft());
  alignas(16) float z[2 * n];
  std::vector<std::complex<double>> x;
  kser::GoldenClip clip;
  kser::FftOrder order;
  for (int i = 0; i < n; ++i, order.Next()) {
    x.emplace_back(clip.Next() / 1024.0, clip.Next() / 1024.0);
    z[2 * order.index()] = static_cast<float>(x[i].real());
    z[2 * order.index() + 1] = static_cast<float>(x[i].imag());
  }
  kser::ComplexFft(z);
  double energy = 0;
  double error = 0;
  for (int k = 0; k < n; ++k) {
    std::complex<double> sum = 0;
    for (int i = 0; i < n; ++i) sum += x[i] * std::polar(1.0, -kTwoPi * ((k * i) % n) / n);
    energy += std::norm(sum);
    error += std::norm(sum - std::complex<double>(z[2 * k], z[2 * k + 1]));
  }
  // Roundings of 2^-24 in each of at most 11 stages.
  CHECK(std::sqrt(error / energy) < 1e-6);
}

void Fill(std::int16_t* samples, std::uint32_t count, kser::GoldenClip* clip) {
  for (std::uint32_t i = 0; i < count; ++i) samples[i] = clip->Next();
}

kser::Frame FrameAt(int index) {
  alignas(16) float work[kser::kFftLength];
  kser::LogMel log_mel;
  log_mel.SetUp();
  kser::GoldenClip clip;
  for (int i = 0; i < index * kser::kHopSamples; ++i) clip.Next();
  Fill(log_mel.Advance(), kser::kWindowSamples, &clip);
  kser::Frame frame;
  log_mel.Compute(work, &frame);
  return frame;
}

bool Same(const kser::Frame& a, const kser::Frame& b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

void FramesOfAStreamAreThoseOfTheirSamples() {
  alignas(16) float work[kser::kFftLength];
  kser::LogMel log_mel;
  CHECK(log_mel.SetUp());
  kser::GoldenClip clip;
  for (int index = 0; index < 5; ++index) {
    CHECK(log_mel.SamplesNeeded() == static_cast<std::uint32_t>(index == 0 ? kser::kWindowSamples : kser::kHopSamples));
    const std::uint32_t count = log_mel.SamplesNeeded();
    Fill(log_mel.Advance(), count, &clip);
    kser::Frame frame;
    log_mel.Compute(work, &frame);
    CHECK(Same(frame, FrameAt(index)));
  }
}

void ResetForgetsTheSamplesBefore() {
  alignas(16) float work[kser::kFftLength];
  kser::LogMel log_mel;
  log_mel.SetUp();
  std::memset(log_mel.Advance(), 0x55, kser::kWindowSamples * sizeof(std::int16_t));
  log_mel.Reset();
  kser::GoldenClip clip;
  Fill(log_mel.Advance(), kser::kWindowSamples, &clip);
  kser::Frame frame;
  log_mel.Compute(work, &frame);
  CHECK(Same(frame, FrameAt(0)));
}

void SilenceIsTheFloorInEveryBand() {
  alignas(16) float work[kser::kFftLength];
  kser::LogMel log_mel;
  log_mel.SetUp();
  std::memset(log_mel.Advance(), 0, kser::kWindowSamples * sizeof(std::int16_t));
  kser::Frame frame;
  log_mel.Compute(work, &frame);
  CHECK(frame.power == 0.0f);
  for (float mel : frame.log_mel) CHECK(std::abs(mel - std::log(kser::kLogFloor)) < 1e-5f);
}

}  // namespace

int main() {
  LogarithmIsWithinItsBound();
  RoundingIsToTheNearestAndToEven();
  TransformIsTheSumThatDefinesIt();
  FramesOfAStreamAreThoseOfTheirSamples();
  ResetForgetsTheSamplesBefore();
  SilenceIsTheFloorInEveryBand();
  return kser_test::Failures() != 0;
}
