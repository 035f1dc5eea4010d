#include "feature_window.h"

#include "fast_math.h"

namespace kser {
namespace {

inline std::int32_t Encode(float log_mel) { return RoundToInt((log_mel - kCodeOffset) * (1.0f / kCodeStep)); }

std::int8_t Dbfs(float power) {
  constexpr float kDbPerNeper = 4.34294482f;
  constexpr float kLeast = 1e-20f;  // Keeps the logarithm finite.
  const float dbfs = kDbPerNeper * FastLog(power * kMeanSquarePerPower + kLeast);
  return static_cast<std::int8_t>(RoundToInt(Clamp(dbfs, -128.0f, 127.0f)));
}

inline std::int8_t QuantizeCode(std::int32_t code, float centre, float gain) {
  constexpr float kLowest = -128 - kInputZeroPoint;
  constexpr float kHighest = 127 - kInputZeroPoint;
  const float steps = Clamp((static_cast<float>(code) - centre) * gain, kLowest, kHighest);
  return static_cast<std::int8_t>(RoundToInt(steps) + kInputZeroPoint);
}

}  // namespace

void FeatureWindow::Reset() {
  sum_ = 0;
  next_ = 0;
  num_frames_ = 0;
}

void FeatureWindow::Add(const Frame& frame) {
  FeatureCode* codes = codes_[next_];
  for (int m = 0; m < kNumMels; ++m) {
    const std::int32_t code = Encode(frame.log_mel[m]);
    sum_ += code - (Full() ? codes[m] : 0);
    codes[m] = static_cast<FeatureCode>(code);
  }
  dbfs_[next_] = Dbfs(frame.power);
  next_ = next_ + 1 == kNumFrames ? 0 : next_ + 1;
  if (!Full()) ++num_frames_;
}

void FeatureWindow::Quantize(std::int8_t* input) const {
  const float level = kRemoveLevel ? static_cast<float>(sum_) * (1.0f / kWindowValues) : 0.0f;
  float centre[kNumMels];
  for (int m = 0; m < kNumMels; ++m) centre[m] = kMelCentre[m] + level;
  QuantizeFrames(next_, kNumFrames, centre, input);
  QuantizeFrames(0, next_, centre, input + (kNumFrames - next_) * kNumMels);
}

void FeatureWindow::QuantizeFrames(int begin, int end, const float* centre, std::int8_t* input) const {
  for (int frame = begin; frame < end; ++frame) {
    for (int m = 0; m < kNumMels; ++m) *input++ = QuantizeCode(codes_[frame][m], centre[m], kMelGain[m]);
  }
}

float FeatureWindow::LoudestDbfs() const {
  std::int8_t loudest = -128;
  for (int i = 0; i < num_frames_; ++i) {
    if (dbfs_[i] > loudest) loudest = dbfs_[i];
  }
  return static_cast<float>(loudest);
}

}  // namespace kser
