#include "optimize.h"

#include "arithmetic.h"
#include "simd.h"

namespace kser {
namespace {

// 1 / sqrt(square) as mantissa / 2^31 / 2^right_shift: five steps of Newton's from 1 on square / 4^n within 1/8 and 1/2,
// with 3 integer bits and 28 fractional ones (GetInvSqrtQuantizedMultiplierExp).
QuantizedMultiplier InverseSquareRoot(std::int32_t square) {
  constexpr std::int32_t kOne = std::int32_t{1} << 28;
  constexpr std::int32_t kThreeHalves = kOne + kOne / 2;
  constexpr std::int32_t kHalfSquareRootOf2 = 1518500250;
  if (square <= 1) return {0x7fffffff, 0};
  int right_shift = 11;
  for (; square >= 1 << 29; ++right_shift) square /= 4;
  for (; square < 1 << 27; --right_shift) square *= 4;
  const std::int32_t half = RoundingDivideByPowerOfTwo(square >> 1, 1);
  std::int32_t x = kOne;
  for (int step = 0; step < 5; ++step) {
    const std::int32_t cube = RoundingDoublingHighMul(RoundingDoublingHighMul(x, x), x) * 64;
    x = (RoundingDoublingHighMul(kThreeHalves, x) - RoundingDoublingHighMul(half, cube)) * 8;
  }
  x = RoundingDoublingHighMul(x, kHalfSquareRootOf2);
  if (right_shift < 0) return {static_cast<std::int32_t>(static_cast<std::uint32_t>(x) << -right_shift), 0};
  return {x, -right_shift};
}

std::int32_t SumOfSquares(const std::int8_t* values, int size, std::int32_t offset) {
  const Pair offsets = PairOf(offset);
  std::int32_t sum = 0;
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Lanes lanes = Load(values + i, offsets);
    sum = Dot(lanes, lanes, sum);
  }
  for (; i < size; ++i) sum += (values[i] + offset) * (values[i] + offset);
  return sum;
}

void NormalizeRow(std::int32_t zero_point, const std::int8_t* input, int depth, std::int8_t* output) {
  constexpr int kOutputBits = 7;
  QuantizedMultiplier factor = InverseSquareRoot(SumOfSquares(input, depth, -zero_point));
  factor.exponent += kOutputBits;
  const int left = factor.exponent > 0 ? factor.exponent : 0;
  factor.exponent -= left;
  const Rescale rescale = MakeRescale(factor);
  const std::int32_t doubling = 2 << left;
  for (int i = 0; i < depth; ++i) output[i] = ClampToInt8(rescale((input[i] - zero_point) * doubling));
}

}  // namespace

void L2Normalize(std::int32_t input_zero_point, const std::int8_t* input, int rows, int depth, std::int8_t* output) {
  for (int row = 0; row < rows; ++row, input += depth, output += depth) NormalizeRow(input_zero_point, input, depth, output);
}

}  // namespace kser
