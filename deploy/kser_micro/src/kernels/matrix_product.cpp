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
  Scale scale(parameters.range, parameters.FactorOf(begin));
  for (const Sums* const end = sums + count; sums != end; ++sums, bias += step) {
    if (kEachItsOwn) scale = Scale(parameters.range, *factors++);
    const std::int32_t sum_b = sums->b + *bias;
    *output.a++ = scale(sums->a + *bias);
    *output.b++ = scale(sum_b);
  }
}

using FinishFunction = void (*)(const MatrixProductParameters&, const Sums*, int, int, const std::int32_t*, Outputs);

FinishFunction ChooseFinish(const MatrixProductParameters& p) {
  const bool relu = p.range.low != kInt8Min;
  if (!p.each_its_own) {
    return p.exact ? Finish<ExactScale, false> : relu ? Finish<FastScale<true>, false> : Finish<FastScale<false>, false>;
  }
  return p.exact ? Finish<ExactScale, true> : relu ? Finish<FastScale<true>, true> : Finish<FastScale<false>, true>;
}

}  // namespace

MatrixProductParameters MakeMatrixProduct(const Quantization& left, const Quantization& right, const Quantization& output,
                                          const OutputRange& range) {
  // In float and double as GetQuantizedConvolutionMultipler.
  const double product = static_cast<double>(left.scale * right.scale);
  MatrixProductParameters parameters = {};
  parameters.SetFactor(QuantizeMultiplier(product / static_cast<double>(output.scale)));
  parameters.left_zero_point = static_cast<std::int8_t>(left.zero_point);
  parameters.right_zero_point = static_cast<std::int8_t>(right.zero_point);
  parameters.range = range;
  return parameters;
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

bool IsFast(const OutputRange& range, QuantizedMultiplier factor, std::int64_t largest_sum) {
  const bool normal = factor.mantissa != 0 && factor.exponent <= 0 && factor.exponent > -30;
  return normal && largest_sum <= kLargestFastSum && (range.low == kInt8Min || range.low == range.zero_point) &&
         range.high == kInt8Max;
}

void MatrixProduct(const MatrixProductParameters& p, const std::int8_t* left, int rows, const RightMatrix& right,
                   Pair* workspace, std::int8_t* output) {
  const FinishFunction finish = ChooseFinish(p);
  Sums sums[kBlockColumns];
  for (int row = 0; row < rows; row += 2, left += 2 * right.depth, output += 2 * right.columns) {
    // The last of an odd number of rows is computed twice.
    const int next = row + 1 < rows ? 1 : 0;
    const std::int8_t* const left_b = left + next * right.depth;
    StoredRows stored = StoreTwoRows(-p.left_zero_point, left, left_b, right.depth, workspace);
    if (p.right_zero_point != 0) {
      const std::int32_t offsets = -p.left_zero_point * right.depth;
      stored.start = {-p.right_zero_point * SumOfValues(left, right.depth, offsets),
                      -p.right_zero_point * SumOfValues(left_b, right.depth, offsets)};
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
