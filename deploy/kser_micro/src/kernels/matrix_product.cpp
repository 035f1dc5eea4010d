#include "arithmetic.h"
#include "simd.h"

namespace kser {
namespace {

std::int8_t Finish(const MatrixProductParameters& p, std::int32_t sum) {
  return ClampToInt8(p.output(sum * p.doubling) + p.output_zero_point);
}

// Of a row of the left matrix and two neighbouring rows of the right one. A function of its own: its inner loop just fits
// the registers.
KSER_NOINLINE void TwoProducts(const MatrixProductParameters& p, const std::int8_t* left, const std::int8_t* right,
                               int depth, std::int8_t* output) {
  const Pair left_offsets = p.left_offsets;
  const Pair right_offsets = p.right_offsets;
  const std::int8_t* const end = left + depth;
  std::int32_t first = 0;
  std::int32_t second = 0;
  for (const std::int8_t* const fours = left + (depth & ~3); left != fours; left += 4, right += 4) {
    const Four four = LoadFour(left, left_offsets);
    first = Dot(four, LoadFour(right, right_offsets), first);
    second = Dot(four, LoadFour(right + depth, right_offsets), second);
  }
  for (; left != end; ++left, ++right) {
    const std::int32_t value = *left + OffsetOf(left_offsets);
    first += value * (*right + OffsetOf(right_offsets));
    second += value * (right[depth] + OffsetOf(right_offsets));
  }
  output[0] = Finish(p, first);
  output[1] = Finish(p, second);
}

KSER_NOINLINE void OneProduct(const MatrixProductParameters& p, const std::int8_t* left, const std::int8_t* right,
                              int depth, std::int8_t* output) {
  std::int32_t sum = 0;
  int i = 0;
  for (; i + 4 <= depth; i += 4) sum = Dot(LoadFour(left + i, p.left_offsets), LoadFour(right + i, p.right_offsets), sum);
  for (; i < depth; ++i) sum += (left[i] + OffsetOf(p.left_offsets)) * (right[i] + OffsetOf(p.right_offsets));
  *output = Finish(p, sum);
}

}  // namespace

bool MakeMatrixProduct(const Quantization& left, const Quantization& right, const Quantization& output, int depth,
                       MatrixProductParameters* parameters) {
  // In float and double as GetQuantizedConvolutionMultipler.
  const double product = static_cast<double>(left.scale * right.scale);
  QuantizedMultiplier factor = QuantizeMultiplier(product / static_cast<double>(output.scale));
  const int shift = factor.exponent > 0 ? factor.exponent : 0;
  constexpr std::int64_t kLargestProduct = 255 * 255;
  if (shift > 13 || depth * kLargestProduct >= std::int64_t{1} << (29 - shift)) return false;
  factor.exponent -= shift;
  *parameters = {PairOf(-left.zero_point), PairOf(-right.zero_point), std::int32_t{2} << shift, MakeRescale(factor),
                 output.zero_point};
  return true;
}

void MatrixProduct(const MatrixProductParameters& parameters, const std::int8_t* left, const std::int8_t* right,
                   int rows, int columns, int depth, std::int8_t* output) {
  for (int row = 0; row < rows; ++row, left += depth) {
    const std::int8_t* right_row = right;
    for (int pair = columns / 2; pair > 0; --pair, right_row += 2 * depth, output += 2) {
      TwoProducts(parameters, left, right_row, depth, output);
    }
    if (columns % 2 != 0) OneProduct(parameters, left, right_row, depth, output++);
  }
}

void Transpose(const std::int8_t* input, int rows, int columns, std::int8_t* output) {
  for (int column = 0; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) *output++ = input[row * columns + column];
  }
}

}  // namespace kser
