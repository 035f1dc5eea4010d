// The complex FFT of half a frame's length, by a backend chosen when compiling: KSER_FFT_CMSIS (CMSIS-DSP), KSER_FFT_ESP
// (esp-dsp), or without either a small one of our own.
#ifndef KSER_COMPLEX_FFT_H_
#define KSER_COMPLEX_FFT_H_

#include "kser_settings.h"

namespace kser {

constexpr int kComplexFftLength = kFftLength / 2;

static_assert((kComplexFftLength & (kComplexFftLength - 1)) == 0, "kFftLength must be a power of two");
static_assert(kComplexFftLength >= 16 && kComplexFftLength <= 2048, "kFftLength must be from 32 to 4096");
static_assert(kComplexFftLength == KSER_COMPLEX_FFT_LENGTH, "kser_settings.h contradicts itself");
static_assert(sizeof(kTwiddles) / sizeof(kTwiddles[0]) == kFftLength, "kTwiddles must hold kFftLength numbers");

// Prepares the backend's tables; false where it cannot. Called once, before the first ComplexFft.
bool SetUpComplexFft();

// Where sample i of the frame's kComplexFftLength complex ones must be put before the transform.
class FftOrder {
 public:
  int index() const { return index_; }
  void Next();

 private:
  int index_ = 0;
};

// In place, z[2 k] and z[2 k + 1] being real and imaginary part of X[k] = sum_i x[i] exp(-2 pi i k / kComplexFftLength).
void ComplexFft(float* z);

}  // namespace kser

#endif  // KSER_COMPLEX_FFT_H_
