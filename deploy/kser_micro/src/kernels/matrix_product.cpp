#include "arithmetic.h"
#include "simd.h"

namespace kser {
namespace {

struct Sums {
  std::int32_t first;
  std::int32_t second;
};

// Products of a row of the left matrix with two neighbouring rows of the right one.
inline Sums DotTwo(const std::int8_t* left, const std::int8_t* right, int depth, std::int32_t left_offset,
                   std::int32_t right_offset) {
  const Pair left_offsets = PairOf(left_offset);
  const Pair right_offsets = PairOf(right_offset);
  const std::int8_t* const end = left + depth;
  Sums sums = {0, 0};
  for (const std::int8_t* const fours = left + (depth & ~3); left != fours; left += 4, right += 4) {
    const Four four = LoadFour(left, left_offsets);
    sums.first = Dot(four, LoadFour(right, right_offsets), sums.first);
    sums.second = Dot(four, LoadFour(right + depth, right_offsets), sums.second);
  }
  for (; left != end; ++left, ++right) {
    const std::int32_t value = *left + left_offset;
    sums.first += value * (*right + right_offset);
    sums.second += value * (right[depth] + right_offset);
  }
  return sums;
}

std::int32_t DotOne(const std::int8_t* left, const std::int8_t* right, int depth, std::int32_t left_offset,
                    std::int32_t right_offset) {
  const Pair left_offsets = PairOf(left_offset);
  const Pair right_offsets = PairOf(right_offset);
  std::int32_t sum = 0;
  int i = 0;
  for (; i + 4 <= depth; i += 4) sum = Dot(LoadFour(left + i, left_offsets), LoadFour(right + i, right_offsets), sum);
  for (; i < depth; ++i) sum += (left[i] + left_offset) * (right[i] + right_offset);
  return sum;
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
  *parameters = {left.zero_point, right.zero_point, shift + 1, MakeRescale(factor), output.zero_point};
  return true;
}

void MatrixProduct(const MatrixProductParameters& parameters, const std::int8_t* left, const std::int8_t* right,
                   int rows, int columns, int depth, std::int8_t* output) {
  const MatrixProductParameters p = parameters;
  const std::int32_t doubling = std::int32_t{1} << p.left_shift;
  const auto finish = [&](std::int32_t sum) { return ClampToInt8(p.output(sum * doubling) + p.output_zero_point); };
  for (int row = 0; row < rows; ++row, left += depth) {
    const std::int8_t* right_row = right;
    for (int pair = columns / 2; pair > 0; --pair, right_row += 2 * depth) {
      const Sums sums = DotTwo(left, right_row, depth, -p.left_zero_point, -p.right_zero_point);
      *output++ = finish(sums.first);
      *output++ = finish(sums.second);
    }
    if (columns % 2 != 0) {
      *output++ = finish(DotOne(left, right_row, depth, -p.left_zero_point, -p.right_zero_point));
    }
  }
}

void Transpose(const std::int8_t* input, int rows, int columns, std::int8_t* output) {
  for (int column = 0; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) *output++ = input[row * columns + column];
  }
}

}  // namespace kser
