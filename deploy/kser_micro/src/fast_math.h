// Logarithm and rounding in a few instructions, for values a front end meets.
#ifndef KSER_FAST_MATH_H_
#define KSER_FAST_MATH_H_

#include <cstdint>
#include <cstring>

#include "exact_float.h"

namespace kser {

inline std::int32_t FloatBits(float value) {
  std::int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float FloatOfBits(std::int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// ln(x) of a positive normal number: x = 2^e m with m in [sqrt(1/2), sqrt(2)), and ln(m) = 2 artanh(s), s = (m - 1) / (m + 1).
// The series ends at s^7; |s| <= 0.1716, so that what is left out is below 2 s^9 / 9 / (1 - s^2) < 3e-8.
inline float FastLog(float x) {
  constexpr std::int32_t kSqrtHalf = 0x3f3504f3;
  constexpr float kLn2 = 0.693147182f;
  const std::int32_t bits = FloatBits(x);
  const std::int32_t exponent = (bits - kSqrtHalf) >> 23;
  const float m = FloatOfBits(bits - exponent * (1 << 23));
  const float s = (m - 1.0f) / (m + 1.0f);
  const float z = s * s;
  const float series = 2.0f + z * (2.0f / 3 + z * (2.0f / 5 + z * (2.0f / 7)));
  return static_cast<float>(exponent) * kLn2 + s * series;
}

// The nearest integer, the even one of two equally near, as NumPy's rint; |x| < 2^22. In floats from 2^23 to 2^24 the last
// bit is 1, so that adding 1.5 * 2^23 rounds x there.
inline std::int32_t RoundToInt(float x) {
  constexpr float kShift = 12582912.0f;
  return FloatBits(x + kShift) - FloatBits(kShift);
}

inline float Clamp(float value, float low, float high) { return value < low ? low : (value > high ? high : value); }

}  // namespace kser

#endif  // KSER_FAST_MATH_H_
