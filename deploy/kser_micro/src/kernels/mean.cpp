#include "optimize.h"

#include "arithmetic.h"
#include "simd.h"

namespace kser {
namespace {

std::int32_t AddNeighbours(std::int32_t sum, const std::int8_t* values, int count) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) sum = SumOf(Load(values + i, 0), sum);
  for (; i < count; ++i) sum += values[i];
  return sum;
}

std::int32_t AddColumn(std::int32_t sum, const std::int8_t* values, int count, int step) {
  for (; count > 0; --count, values += step) sum += *values;
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
  *parameters = {-input.zero_point * count, std::int32_t{2} << left, MakeRescale(factor), output.zero_point};
  return true;
}

void Mean(const MeanParameters& parameters, const std::int8_t* input, int outer, int count, int inner,
          std::int8_t* output) {
  // A copy: for all a compiler knows, an int8 written could be part of what is behind a reference.
  const MeanParameters p = parameters;
  for (int row = 0; row < outer; ++row, input += count * inner) {
    for (int column = 0; column < inner; ++column) {
      const std::int32_t sum = inner == 1 ? AddNeighbours(p.start, input, count)
                                          : AddColumn(p.start, input + column, count, inner);
      *output++ = ClampToInt8(p.output(sum * p.doubling) + p.output_zero_point);
    }
  }
}

}  // namespace kser
