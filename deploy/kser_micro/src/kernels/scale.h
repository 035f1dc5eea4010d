// From a sum of products to an int8 value: a factor, the output's zero point, the bounds of an activation.
#ifndef KSER_KERNELS_SCALE_H_
#define KSER_KERNELS_SCALE_H_

#include "arithmetic.h"

namespace kser {

// For sums, factors and ranges of which IsFast holds.
template <bool kReLU>
class FastScale {
 public:
  FastScale(const OutputRange& range, QuantizedMultiplier factor)
      : zero_point_(range.zero_point),
        mantissa_(factor.mantissa),
        half_(std::int32_t{1} << -factor.exponent),
        right_shift_(1 - factor.exponent) {}

  std::int8_t operator()(std::int32_t sum) const {
    const std::int32_t product = RoundingDoublingHighMulNormal(sum, mantissa_);
    const std::int32_t value = (half_ + product * 2 + (product >> 31)) >> right_shift_;
    return ClampToInt8((kReLU ? value & ~(value >> 31) : value) + zero_point_);
  }

 private:
  std::int32_t zero_point_;
  std::int32_t mantissa_;
  std::int32_t half_;
  int right_shift_;
};

class ExactScale {
 public:
  ExactScale(const OutputRange& range, QuantizedMultiplier factor) : factor_(factor), range_(range) {}

  std::int8_t operator()(std::int32_t sum) const {
    return static_cast<std::int8_t>(Clamp(Multiply(sum, factor_) + range_.zero_point, range_.low, range_.high));
  }

 private:
  QuantizedMultiplier factor_;
  OutputRange range_;
};

}  // namespace kser

#endif  // KSER_KERNELS_SCALE_H_
