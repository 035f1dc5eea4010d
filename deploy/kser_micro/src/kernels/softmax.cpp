#include "optimize.h"

#include "arithmetic.h"

namespace kser {
namespace {

// Sums of exponentials have 12 integer bits.
constexpr int kSumBits = 12;

int LeadingZeros(std::uint32_t x) {
#if defined(__GNUC__)
  return __builtin_clz(x);
#else
  int zeros = 0;
  for (; x < 0x80000000u; x <<= 1) ++zeros;
  return zeros;
#endif
}

std::int32_t Largest(const std::int8_t* values, int size) {
  std::int32_t largest = kInt8Min;
  for (int i = 0; i < size; ++i) {
    if (values[i] > largest) largest = values[i];
  }
  return largest;
}

void SoftmaxRow(const std::int32_t* exponentials, const std::int8_t* input, int depth, std::int8_t* output) {
  const std::int32_t* const of_input = exponentials + kTableSize - 1 - Largest(input, depth);
  std::uint32_t sum = 0;
  for (int i = 0; i < depth; ++i) sum += (static_cast<std::uint32_t>(of_input[input[i]]) + (1u << (kSumBits - 1))) >> kSumBits;

  // 1 / sum is a factor from 1/2 to 1 and a shift right.
  const int zeros = LeadingZeros(sum);
  const std::uint32_t above_one = (sum << zeros) - 0x80000000u;
  const std::uint32_t doubled_factor = 2 * static_cast<std::uint32_t>(OneOverOnePlus(static_cast<std::int32_t>(above_one)));
  int shift = kSumBits - zeros + 31 - 8;
  // Rows of 256 equal values and more, for whose quotients TensorFlow Lite's shift is undefined: all round to 0.
  if (shift > 31) shift = 31;
  const std::uint32_t half = 1u << (shift - 1);
  for (int i = 0; i < depth; ++i) {
    const std::uint64_t product = static_cast<std::uint64_t>(doubled_factor) * static_cast<std::uint32_t>(of_input[input[i]]);
    const std::uint32_t rounded = static_cast<std::uint32_t>((product + 0x80000000u) >> 32);
    output[i] = ClampToInt8(static_cast<std::int32_t>((rounded + half) >> shift) + kInt8Min);
  }
}

}  // namespace

void Softmax(const std::int32_t exponentials[kTableSize], const std::int8_t* input, int rows, int depth,
             std::int8_t* output) {
  for (int row = 0; row < rows; ++row, input += depth, output += depth) SoftmaxRow(exponentials, input, depth, output);
}

}  // namespace kser
