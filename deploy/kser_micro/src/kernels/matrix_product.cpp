#include "optimize.h"

#include "arithmetic.h"
#include "scale.h"
#include "two_rows.h"

namespace kser {
namespace {

constexpr std::int32_t kLargestFastSum = (std::int32_t{1} << 29) - 1;

struct Outputs {
  std::int8_t* a;
  std::int8_t* b;
};

// Of `count` columns from `begin` on.
template <typename Scale, bool kEachItsOwn>
KSER_NOINLINE void Finish(const MatrixProductParameters& parameters, const Sums* sums, int begin, int count,
                          const std::int32_t* bias, Outputs output) {
  constexpr std::int32_t kNoBias = 0;
  const int step = bias != nullptr ? 1 : 0;
  if (bias == nullptr) bias = &kNoBias;
  const QuantizedMultiplier* factors = kEachItsOwn ? parameters.factors + begin : nullptr;
  Scale scale(parameters, parameters.factor);
  for (const Sums* const end = sums + count; sums != end; ++sums, bias += step) {
    if (kEachItsOwn) scale = Scale(parameters, *factors++);
    const std::int32_t sum_b = sums->b + *bias;
    *output.a++ = scale(sums->a + *bias);
    *output.b++ = scale(sum_b);
  }
}

using FinishFunction = void (*)(const MatrixProductParameters&, const Sums*, int, int, const std::int32_t*, Outputs);

FinishFunction ChooseFinish(const MatrixProductParameters& p) {
  const bool relu = p.low != kInt8Min;
  if (p.factors == nullptr) {
    return p.exact ? Finish<ExactScale, false> : relu ? Finish<FastScale<true>, false> : Finish<FastScale<false>, false>;
  }
  return p.exact ? Finish<ExactScale, true> : relu ? Finish<FastScale<true>, true> : Finish<FastScale<false>, true>;
}

}  // namespace

MatrixProductParameters MakeMatrixProduct(const Quantization& left, const Quantization& right, const Quantization& output,
                                          const OutputRange& range) {
  // In float and double as GetQuantizedConvolutionMultipler.
  const double product = static_cast<double>(left.scale * right.scale);
  return {nullptr,
          QuantizeMultiplier(product / static_cast<double>(output.scale)),
          static_cast<std::int16_t>(-left.zero_point),
          static_cast<std::int16_t>(-right.zero_point),
          static_cast<std::int8_t>(output.zero_point),
          static_cast<std::int8_t>(range.low),
          static_cast<std::int8_t>(range.high),
          false};
}

QuantizedMultiplier ColumnFactor(float left_scale, float column_scale, float output_scale) {
  return QuantizeMultiplier(static_cast<double>(left_scale) * static_cast<double>(column_scale) /
                            static_cast<double>(output_scale));
}

std::int64_t LargestSum(int depth, std::int64_t largest_bias) {
  constexpr std::int64_t kLargestProduct = 255 * 255;
  return depth * kLargestProduct + largest_bias;
}

bool FitsInt32(std::int64_t largest_sum, QuantizedMultiplier factor) {
  return factor.exponent <= 15 && largest_sum < std::int64_t{1} << (31 - (factor.exponent > 0 ? factor.exponent : 0));
}

bool IsFast(const MatrixProductParameters& p, QuantizedMultiplier factor, std::int64_t largest_sum) {
  const bool normal = factor.mantissa != 0 && factor.exponent <= 0 && factor.exponent > -30;
  return normal && largest_sum <= kLargestFastSum && (p.low == kInt8Min || p.low == p.zero_point) && p.high == kInt8Max;
}

void MatrixProduct(const MatrixProductParameters& p, const std::int8_t* left, int rows, const RightMatrix& right,
                   Pair* workspace, std::int8_t* output) {
  const FinishFunction finish = ChooseFinish(p);
  Sums sums[kBlockColumns];
  for (int row = 0; row < rows; row += 2, left += 2 * right.depth, output += 2 * right.columns) {
    // The last of an odd number of rows is computed twice.
    const int next = row + 1 < rows ? 1 : 0;
    const std::int8_t* const left_b = left + next * right.depth;
    StoredRows stored = StoreTwoRows(p.left_offset, left, left_b, right.depth, workspace);
    if (p.right_offset != 0) {
      stored.start = {p.right_offset * SumOfValues(left, right.depth, p.left_offset * right.depth),
                      p.right_offset * SumOfValues(left_b, right.depth, p.left_offset * right.depth)};
    }
    for (int begin = 0; begin < right.columns; begin += kBlockColumns) {
      const int count = right.columns - begin < kBlockColumns ? right.columns - begin : kBlockColumns;
      MultiplyColumns(stored, right.values + begin * right.depth, count, sums);
      finish(p, sums, begin, count, right.bias != nullptr ? right.bias + begin : nullptr,
             {output + begin, output + next * right.columns + begin});
    }
  }
}

void Transpose(const std::int8_t* input, int rows, int columns, std::int8_t* output) {
  for (int column = 0; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) *output++ = input[row * columns + column];
  }
}

}  // namespace kser
