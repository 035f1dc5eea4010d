#include "optimize.h"

#include "quantize.h"

#include <cmath>

namespace kser {

QuantizedMultiplier QuantizeMultiplier(double factor) {
  if (factor == 0.0) return {0, 0};
  int exponent;
  const double fraction = std::frexp(factor, &exponent);
  std::int64_t mantissa = static_cast<std::int64_t>(std::round(fraction * (std::int64_t{1} << 31)));
  if (mantissa == std::int64_t{1} << 31) {
    mantissa /= 2;
    ++exponent;
  }
  if (exponent < -31) return {0, 0};
  return {static_cast<std::int32_t>(mantissa), exponent};
}

std::int32_t InputRadius(int integer_bits, int left_shift) {
  const double radius = ((1 << integer_bits) - 1) * std::ldexp(1.0, 31 - integer_bits - left_shift);
  return static_cast<std::int32_t>(std::floor(radius));
}

}  // namespace kser
