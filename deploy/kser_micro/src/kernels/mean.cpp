#include "arithmetic.h"
#include "simd.h"

namespace kser {
namespace {

std::int32_t SumOfNeighbours(const std::int8_t* values, int count) {
  std::int32_t sum = 0;
  int i = 0;
  for (; i + 4 <= count; i += 4) sum = SumOf(LoadFour(values + i, 0), sum);
  for (; i < count; ++i) sum += values[i];
  return sum;
}

std::int32_t SumOfColumn(const std::int8_t* values, int count, int step) {
  std::int32_t sum = 0;
  for (int i = 0; i < count; ++i, values += step) sum += *values;
  return sum;
}

}  // namespace

bool MakeMean(const Quantization& input, const Quantization& output, int count, MeanParameters* parameters) {
  QuantizedMultiplier factor = QuantizeMultiplier(static_cast<double>(input.scale) / static_cast<double>(output.scale));
  // 1 / count joins the factor, whose mantissa keeps its bits as long as shifts stay within TensorFlow Lite's limits.
  int shift = 0;
  while (shift < 31 && count >> (shift + 1) != 0) ++shift;
  if (shift > 31 + factor.exponent) shift = 31 + factor.exponent;
  factor.mantissa = static_cast<std::int32_t>((static_cast<std::int64_t>(factor.mantissa) << shift) / count);
  factor.exponent -= shift;
  const int left = factor.exponent > 0 ? factor.exponent : 0;
  if (left > 20 || count >= std::int32_t{1} << (21 - left)) return false;
  factor.exponent -= left;
  *parameters = {input.zero_point * count, std::int32_t{2} << left, MakeRescale(factor), output.zero_point};
  return true;
}

void Mean(const MeanParameters& parameters, const std::int8_t* input, int outer, int count, int inner,
          std::int8_t* output) {
  const MeanParameters p = parameters;
  const auto finish = [p](std::int32_t sum) {
    return ClampToInt8(p.output((sum - p.zero_points) * p.doubling) + p.output_zero_point);
  };
  for (int row = 0; row < outer; ++row, input += count * inner) {
    if (inner == 1) {
      *output++ = finish(SumOfNeighbours(input, count));
      continue;
    }
    for (int column = 0; column < inner; ++column) *output++ = finish(SumOfColumn(input + column, count, inner));
  }
}

}  // namespace kser
