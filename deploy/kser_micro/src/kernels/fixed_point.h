// Fixed-point arithmetic of TensorFlow Lite's integer kernels, bit for bit, in the fewest instructions.
//
// Source of the definitions: gemmlowp's fixedpoint.h (SaturatingRoundingDoublingHighMul, RoundingDivideByPOT) and
// TensorFlow Lite's double-rounding MultiplyByQuantizedMultiplier.
#ifndef KSER_KERNELS_FIXED_POINT_H_
#define KSER_KERNELS_FIXED_POINT_H_

#include <cstdint>

#if defined(TFLITE_SINGLE_ROUNDING) && TFLITE_SINGLE_ROUNDING
#error "These kernels round twice, as TensorFlow Lite Micro does by default: build it without TFLITE_SINGLE_ROUNDING."
#endif

namespace kser {

constexpr std::int32_t kInt8Min = -128;
constexpr std::int32_t kInt8Max = 127;

// a b / 2^31 to the nearest integer, halves upwards; not for a = b = -2^31, where the original saturates.
// The original rounds by a nudge of the product's sign and division towards 0, which comes to the same.
inline std::int32_t RoundingDoublingHighMul(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>((static_cast<std::int64_t>(a) * b + (std::int64_t{1} << 30)) >> 31);
}

// The same for b from 2^30 on: one instruction where there is one, with 2 b - 2^32 and a itself in the upper half of the sum.
inline std::int32_t RoundingDoublingHighMulNormal(std::int32_t a, std::int32_t b) {
#if defined(__ARM_FEATURE_DSP)
  std::int32_t product;
  asm("smmlar %0, %1, %2, %1" : "=r"(product) : "r"(a), "r"(static_cast<std::uint32_t>(b) * 2));
  return product;
#else
  return RoundingDoublingHighMul(a, b);
#endif
}

// RoundingDoublingHighMul(doubled / 2, b): one instruction where there is one.
inline std::int32_t RoundingHighMul(std::int32_t doubled, std::int32_t b) {
#if defined(__ARM_FEATURE_DSP)
  std::int32_t product;
  asm("smmulr %0, %1, %2" : "=r"(product) : "r"(doubled), "r"(b));
  return product;
#else
  return static_cast<std::int32_t>((static_cast<std::int64_t>(doubled) * b + (std::int64_t{1} << 31)) >> 32);
#endif
}

// x / 2^exponent to the nearest integer, halves away from 0; 0 <= exponent <= 31.
inline std::int32_t RoundingDivideByPowerOfTwo(std::int32_t x, int exponent) {
  const std::int64_t half = (std::int64_t{1} << exponent) >> 1;
  return static_cast<std::int32_t>((x + half - (x < 0 && exponent > 0 ? 1 : 0)) >> exponent);
}

inline std::int32_t Clamp(std::int32_t x, std::int32_t low, std::int32_t high) {
  return x < low ? low : x > high ? high : x;
}

inline std::int32_t SaturateToInt8(std::int32_t x) {
#if defined(__ARM_FEATURE_DSP)
  asm("ssat %0, #8, %1" : "=r"(x) : "r"(x));
  return x;
#else
  return Clamp(x, kInt8Min, kInt8Max);
#endif
}

inline std::int8_t ClampToInt8(std::int32_t x) { return static_cast<std::int8_t>(SaturateToInt8(x)); }

// A real factor as mantissa / 2^31 * 2^exponent, 2^30 <= mantissa < 2^31 (or 0).
struct QuantizedMultiplier {
  std::int32_t mantissa;
  int exponent;
};

// TensorFlow Lite's MultiplyByQuantizedMultiplier for any operands of its own.
inline std::int32_t Multiply(std::int32_t x, QuantizedMultiplier factor) {
  const int left = factor.exponent > 0 ? factor.exponent : 0;
  const std::int32_t shifted = static_cast<std::int32_t>(static_cast<std::uint32_t>(x) << left);
  return RoundingDivideByPowerOfTwo(RoundingDoublingHighMul(shifted, factor.mantissa), left - factor.exponent);
}

// The same multiplication laid out for inner loops.
//
// The operand comes already shifted left, doubled, and below 2^30 in magnitude. The halving of the last step turns "halves
// away from 0" into one formula that also holds for a right shift of 0.
struct Rescale {
  std::int32_t mantissa;
  std::int32_t half;
  int right_shift;

  std::int32_t operator()(std::int32_t doubled) const {
    const std::int32_t product = RoundingHighMul(doubled, mantissa);
    return (half + product * 2 + (product >> 31)) >> right_shift;
  }
};

// Of an exponent that is not above 0. Where the shift leaves nothing of an operand as above, the factor is 0.
inline Rescale MakeRescale(QuantizedMultiplier factor) {
  const int right = -factor.exponent;
  return right < 30 ? Rescale{factor.mantissa, std::int32_t{1} << right, right + 1} : Rescale{0, 1, 1};
}

}  // namespace kser

#endif  // KSER_KERNELS_FIXED_POINT_H_
