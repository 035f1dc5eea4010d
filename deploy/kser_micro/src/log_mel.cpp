#include "kernels/optimize.h"

#include "log_mel.h"

#include <cstring>

#include "complex_fft.h"
#include "fast_math.h"

namespace kser {
namespace {

// Sample i of the frame, which zeros fill up to the transform's length.
inline float Windowed(const std::int16_t* samples, int i) {
  return i < kWindowSamples ? kWindow[i] * static_cast<float>(samples[i]) : 0.0f;
}

// Even samples as real, odd ones as imaginary parts: a real transform by a complex one of half the length.
void LoadFrame(const std::int16_t* samples, float* z) {
  FftOrder order;
  for (int i = 0; i < kFftLength; i += 2, order.Next()) {
    float* value = z + 2 * order.index();
    value[0] = Windowed(samples, i);
    value[1] = Windowed(samples, i + 1);
  }
}

// From the complex transform Z of even and odd samples to |X|^2 of all of them, which goes where Z's real part was: X[k] and
// X[n - k] are E +- W^k O, with E and O the transforms of the even and the odd samples. Bins 0 and n are not made.
void SplitPower(float* z) {
  constexpr int kBins = kComplexFftLength;
  for (int k = 1; k <= kBins / 2; ++k) {
    float* low = z + 2 * k;
    float* high = z + 2 * (kBins - k);
    const float even_re = low[0] + high[0];
    const float even_im = low[1] - high[1];
    const float odd_re = low[1] + high[1];
    const float odd_im = high[0] - low[0];
    const float w_re = kTwiddles[2 * k];
    const float w_im = kTwiddles[2 * k + 1];
    const float turned_re = odd_re * w_re - odd_im * w_im;
    const float turned_im = odd_re * w_im + odd_im * w_re;
    const float low_re = even_re + turned_re;
    const float low_im = even_im + turned_im;
    const float high_re = even_re - turned_re;
    const float high_im = even_im - turned_im;
    low[0] = low_re * low_re + low_im * low_im;
    high[0] = high_re * high_re + high_im * high_im;
  }
}

// Between two edges one triangle falls as the next rises, to 1 together.
void MelPower(const float* z, float* mels) {
  const float* rise = kMelRise;
  float rising = 0.0f;
  for (int segment = 0; segment <= kNumMels; ++segment) {
    const float risen = rising;
    float falling = 0.0f;
    rising = 0.0f;
    for (int k = kMelFirstBin[segment]; k < kMelFirstBin[segment + 1]; ++k) {
      const float part = *rise++ * z[2 * k];
      rising += part;
      falling += z[2 * k] - part;
    }
    if (segment > 0) mels[segment - 1] = risen + falling;
  }
}

}  // namespace

bool LogMel::SetUp() {
  Reset();
  return SetUpComplexFft();
}

std::int16_t* LogMel::Advance() {
  if (!state_.started) {
    state_.started = true;
    return state_.samples;
  }
  constexpr int kKept = kWindowSamples - kHopSamples;
  std::memmove(state_.samples, state_.samples + kHopSamples, kKept * sizeof(state_.samples[0]));
  return state_.samples + kKept;
}

void LogMel::Compute(float* work, Frame* frame) const {
  LoadFrame(state_.samples, work);
  ComplexFft(work);
  SplitPower(work);
  MelPower(work, frame->log_mel);
  frame->power = 0.0f;
  for (float& mel : frame->log_mel) {
    frame->power += mel;
    mel = FastLog(mel + kLogFloor);
  }
}

}  // namespace kser
