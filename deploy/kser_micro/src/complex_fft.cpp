#include "kernels/optimize.h"

#include "complex_fft.h"

#include "exact_float.h"

#if defined(KSER_FFT_CMSIS)
#include "arm_const_structs.h"
#include "arm_math.h"
#elif defined(KSER_FFT_ESP)
#include "dsps_fft2r.h"
#endif

namespace kser {

#if defined(KSER_FFT_CMSIS)

#define KSER_JOIN_(a, b) a##b
#define KSER_JOIN(a, b) KSER_JOIN_(a, b)

bool SetUpComplexFft() { return true; }

void FftOrder::Next() { ++index_; }

void ComplexFft(float* z) {
  constexpr uint8_t kForward = 0;
  constexpr uint8_t kInOrder = 1;
  arm_cfft_f32(&KSER_JOIN(arm_cfft_sR_f32_len, KSER_COMPLEX_FFT_LENGTH), z, kForward, kInOrder);
}

#elif defined(KSER_FFT_ESP)

// If other code has set up esp-dsp before, its table serves us if it is large enough, whatever the call returns.
bool SetUpComplexFft() {
  alignas(16) static float table[kComplexFftLength];
  dsps_fft2r_init_fc32(table, kComplexFftLength);
  return dsps_fft_w_table_size >= kComplexFftLength;
}

void FftOrder::Next() { ++index_; }

void ComplexFft(float* z) {
  dsps_fft2r_fc32(z, kComplexFftLength);
  dsps_bit_rev_fc32(z, kComplexFftLength);
}

#else

namespace {

constexpr bool IsPowerOfFour(int n) { return n == 1 || (n % 4 == 0 && IsPowerOfFour(n / 4)); }

struct Complex {
  float re;
  float im;
};

inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
inline Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
inline Complex TimesMinusI(Complex a) { return {a.im, -a.re}; }

inline Complex Load(const float* z, int index) { return {z[2 * index], z[2 * index + 1]}; }

inline void Store(float* z, int index, Complex value) {
  z[2 * index] = value.re;
  z[2 * index + 1] = value.im;
}

// Transforms of length 2, side by side: where the length is no power of four, the odd stage.
void Radix2Stage(float* z) {
  for (int i = 0; i < kComplexFftLength; i += 2) {
    const Complex a = Load(z, i);
    const Complex b = Load(z, i + 1);
    Store(z, i, a + b);
    Store(z, i + 1, a - b);
  }
}

// Two stages of radix 2 in one pass over four values, b and d already multiplied by their twiddle of the first stage,
// `w` being that of the second.
inline void Butterfly(float* z, int index, int stride, Complex b, Complex d, Complex w) {
  const Complex a = Load(z, index);
  const Complex c = Load(z, index + 2 * stride);
  const Complex even = (c + d) * w;
  const Complex odd = TimesMinusI((c - d) * w);
  Store(z, index, a + b + even);
  Store(z, index + stride, a - b + odd);
  Store(z, index + 2 * stride, a + b - even);
  Store(z, index + 3 * stride, a - b - odd);
}

// The first two stages, whose twiddles are 1.
void FirstDoubleStage(float* z) {
  for (int i = 0; i < kComplexFftLength; i += 4) {
    const Complex a = Load(z, i);
    const Complex b = Load(z, i + 1);
    const Complex c = Load(z, i + 2);
    const Complex d = Load(z, i + 3);
    const Complex odd = TimesMinusI(c - d);
    Store(z, i, a + b + (c + d));
    Store(z, i + 1, a - b + odd);
    Store(z, i + 2, a + b - (c + d));
    Store(z, i + 3, a - b - odd);
  }
}

// From transforms of length `stride` to those of length 4 * stride.
void DoubleStage(float* z, int stride) {
  const int step = kFftLength / (4 * stride);
  for (int j = 0; j < stride; ++j) {
    const Complex w = Load(kTwiddles, j * step);
    const Complex w_first = Load(kTwiddles, 2 * j * step);
    for (int i = j; i < kComplexFftLength; i += 4 * stride) {
      Butterfly(z, i, stride, Load(z, i + stride) * w_first, Load(z, i + 3 * stride) * w_first, w);
    }
  }
}

}  // namespace

bool SetUpComplexFft() { return true; }

// Bit-reversed counting: a carry runs from the highest bit down.
void FftOrder::Next() {
  int bit = kComplexFftLength / 2;
  for (; index_ & bit; bit /= 2) index_ -= bit;
  index_ += bit;
}

// Decimation in time (Cooley and Tukey 1965).
void ComplexFft(float* z) {
  int stride = 2;
  if (IsPowerOfFour(kComplexFftLength)) {
    FirstDoubleStage(z);
    stride = 4;
  } else {
    Radix2Stage(z);
  }
  for (; stride < kComplexFftLength; stride *= 4) DoubleStage(z, stride);
}

#endif

}  // namespace kser
