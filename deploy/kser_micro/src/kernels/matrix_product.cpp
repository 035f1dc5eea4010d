#include "arithmetic.h"
#include "simd.h"

namespace kser {
namespace {

std::int8_t Finish(const MatrixProductParameters& p, std::int32_t sum) {
  return ClampToInt8(p.output(sum * p.doubling) + p.output_zero_point);
}

// Of a row of the left matrix and `pairs` times two neighbouring rows of the right one. A function of its own: its inner
// loop just fits the registers.
KSER_NOINLINE void PairsOfProducts(const MatrixProductParameters& p, const std::int8_t* left, const std::int8_t* right,
                                   int pairs, int depth, std::int8_t* output) {
  const Pair left_offsets = p.left_offsets;
  const Pair right_offsets = p.right_offsets;
  const int rest = depth % kLanes;
  const std::int8_t* const lanes_end = left + depth - rest;
  for (std::int8_t* const end = output + 2 * pairs; output != end; right += depth, output += 2) {
    std::int32_t first = 0;
    std::int32_t second = 0;
    const std::int8_t* value = left;
    for (; value != lanes_end; value += kLanes, right += kLanes) {
      const Lanes lanes = Load(value, left_offsets);
      first = Dot(lanes, Load(right, right_offsets), first);
      second = Dot(lanes, Load(right + depth, right_offsets), second);
    }
    for (int left_over = rest; left_over > 0; --left_over, ++value, ++right) {
      const std::int32_t x = *value + OffsetOf(left_offsets);
      first += x * (*right + OffsetOf(right_offsets));
      second += x * (right[depth] + OffsetOf(right_offsets));
    }
    const std::int8_t finished = Finish(p, first);
    output[1] = Finish(p, second);
    output[0] = finished;
  }
}

KSER_NOINLINE void OneProduct(const MatrixProductParameters& p, const std::int8_t* left, const std::int8_t* right,
                              int depth, std::int8_t* output) {
  std::int32_t sum = 0;
  int i = 0;
  for (; i + kLanes <= depth; i += kLanes) {
    sum = Dot(Load(left + i, p.left_offsets), Load(right + i, p.right_offsets), sum);
  }
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
  const int last = columns - 1;
  for (int row = 0; row < rows; ++row, left += depth, output += columns) {
    PairsOfProducts(parameters, left, right, columns / 2, depth, output);
    if (columns % 2 != 0) OneProduct(parameters, left, right + last * depth, depth, output + last);
  }
}

void Transpose(const std::int8_t* input, int rows, int columns, std::int8_t* output) {
  for (int column = 0; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) *output++ = input[row * columns + column];
  }
}

}  // namespace kser
