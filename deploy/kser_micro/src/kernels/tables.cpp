#include "optimize.h"

#include "arithmetic.h"

#include <cmath>
#include <limits>

namespace kser {
namespace {

// Numbers named QN have N integer bits and 31 - N fractional ones beside the sign.
constexpr std::int32_t kOneQ0 = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t kOneQ2 = std::int32_t{1} << 29;

// x with `bits` fewer integer bits, saturating.
std::int32_t SaturatingShiftLeft(std::int32_t x, int bits) {
  const std::int64_t shifted = static_cast<std::int64_t>(x) * (std::int64_t{1} << bits);
  if (shifted > std::numeric_limits<std::int32_t>::max()) return std::numeric_limits<std::int32_t>::max();
  if (shifted < std::numeric_limits<std::int32_t>::min()) return std::numeric_limits<std::int32_t>::min();
  return static_cast<std::int32_t>(shifted);
}

// a b for |a| < 2^30 and x / 2^exponent for |x| < 2^30 and exponent > 0, in a few instructions of 32 bits.
std::int32_t SmallHighMul(std::int32_t a, std::int32_t b) { return RoundingHighMul(a * 2, b); }
std::int32_t SmallDivide(std::int32_t x, int exponent) {
  return (x + (std::int32_t{1} << (exponent - 1)) + (x >> 31)) >> exponent;
}

// exp(x) in Q0 for x in Q0, -1/4 <= x < 0: a Taylor series around -1/8.
std::int32_t ExpOfLastQuarter(std::int32_t x) {
  constexpr std::int32_t kExpOfMinusEighth = 1895147668;
  constexpr std::int32_t kOneThird = 715827883;
  x += std::int32_t{1} << 28;
  const std::int32_t x2 = SmallHighMul(x, x);
  const std::int32_t x3 = SmallHighMul(x2, x);
  const std::int32_t x4 = SmallHighMul(x2, x2);
  const std::int32_t x4_by_12_and_x3_by_3 = SmallHighMul(SmallDivide(x4, 2) + x3, kOneThird);
  const std::int32_t rest = SmallDivide(x4_by_12_and_x3_by_3 + x2, 1);
  return kExpOfMinusEighth + SmallHighMul(x + rest, kExpOfMinusEighth);
}

// exp(x) in Q0 for x <= 0 with `integer_bits` (at most 5) integer bits: the last quarter, times exp(-2^n) for each n >= -2
// of what is left.
std::int32_t ExpOfNegative(std::int32_t x, int integer_bits) {
  constexpr std::int32_t kExpOfMinusQuarter = 1672461947;
  constexpr std::int32_t kExpOfMinusHalf = 1302514674;
  static constexpr std::int32_t kExpOfMinusPowers[] = {790015084, 290630308, 39332535, 720401, 242};
  if (x == 0) return kOneQ0;
  const int quarter_bits = 29 - integer_bits;
  const std::int32_t quarter = std::int32_t{1} << quarter_bits;
  const std::int32_t last = (x & (quarter - 1)) - quarter;
  std::int32_t quarters = (last - x) >> quarter_bits;
  std::int32_t result = ExpOfLastQuarter(last * (std::int32_t{1} << integer_bits));
  if (quarters & 1) result = RoundingDoublingHighMulNormal(result, kExpOfMinusQuarter);
  if (quarters & 2) result = RoundingDoublingHighMulNormal(result, kExpOfMinusHalf);
  for (const std::int32_t* power = kExpOfMinusPowers; (quarters >>= 1) > 1; ++power) {
    if (quarters & 2) result = SmallHighMul(*power, result);
  }
  return result;
}

// 2 / (1 + x) in Q2 for x in Q0, 0 <= x < 1: Newton's division.
std::int32_t TwoOverOnePlus(std::int32_t x) {
  constexpr std::int32_t k48Over17 = 1515870810;
  constexpr std::int32_t kMinus32Over17 = -1010580540;
  const std::int32_t half_denominator = static_cast<std::int32_t>((static_cast<std::int64_t>(x) + kOneQ0 + 1) / 2);
  std::int32_t result = k48Over17 + RoundingDoublingHighMul(half_denominator, kMinus32Over17);
  for (int step = 0; step < 3; ++step) {
    const std::int32_t error = kOneQ2 - RoundingDoublingHighMul(half_denominator, result);
    // Saturation of the original is out of reach: the error is below 1/17.
    result += RoundingDoublingHighMul(result, error) * 4;
  }
  return result;
}

constexpr int kArgumentBits = 4;

// The fixed-point argument of LOGISTIC and TANH, or by how much it is beyond the range.
struct Argument {
  explicit Argument(float scale)
      : factor(QuantizeMultiplier(static_cast<double>(scale) * (1 << (31 - kArgumentBits)))),
        radius(InputRadius(kArgumentBits, factor.exponent)) {}

  QuantizedMultiplier factor;
  std::int32_t radius;
};

// Function(x) for an argument within the range; the limits beyond it.
template <typename Function>
void FillSigmoid(const Quantization& input, std::int8_t* table, Function function) {
  const Argument argument(input.scale);
  for (int i = 0; i < kTableSize; ++i) {
    const std::int32_t x = i + kInt8Min - input.zero_point;
    if (x <= -argument.radius) {
      table[i] = kInt8Min;
    } else if (x >= argument.radius) {
      table[i] = kInt8Max;
    } else {
      table[i] = ClampToInt8(function(Multiply(x, argument.factor)));
    }
  }
}

std::int32_t Logistic(std::int32_t x) {
  const std::int32_t half = std::int32_t{1} << 30;
  const std::int32_t of_magnitude = OneOverOnePlus(ExpOfNegative(x > 0 ? -x : x, kArgumentBits));
  const std::int32_t result = x == 0 ? half : x > 0 ? of_magnitude : kOneQ0 - of_magnitude;
  return RoundingDivideByPowerOfTwo(result, 23) + kInt8Min;
}

std::int32_t Tanh(std::int32_t x) {
  if (x == 0) return 0;
  const std::int32_t exp_of_minus_double = ExpOfNegative(x > 0 ? -x : x, kArgumentBits + 1);
  const std::int32_t of_magnitude = SaturatingShiftLeft(TwoOverOnePlus(exp_of_minus_double) - kOneQ2, 2);
  return RoundingDivideByPowerOfTwo(x > 0 ? of_magnitude : -of_magnitude, 24);
}

std::int16_t Saturate16(std::int32_t x) { return static_cast<std::int16_t>(Clamp(x, -32768, 32767)); }

// a b / 2^15, rounded; halves upwards, as in RoundingDoublingHighMul.
std::int16_t RoundingDoublingHighMul16(std::int16_t a, std::int16_t b) {
  return Saturate16((std::int32_t{a} * b + (1 << 14)) >> 15);
}

// RoundingDivideByPowerOfTwo of a number of 16 bits, also where the original's mask of 16 bits is too short for it.
std::int16_t RoundingDivideByPowerOfTwo16(std::int16_t x, int exponent) {
  const std::int16_t mask = static_cast<std::int16_t>((std::int64_t{1} << exponent) - 1);
  const std::int16_t remainder = static_cast<std::int16_t>(x & mask);
  const std::int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return static_cast<std::int16_t>((x >> exponent) + (remainder > threshold ? 1 : 0));
}

// A factor with a mantissa of 15 bits.
struct ShortMultiplier {
  explicit ShortMultiplier(double factor) {
    const QuantizedMultiplier exact = QuantizeMultiplier(factor);
    mantissa = exact.mantissa >= kOneQ0 - (1 << 15) ? 32767 : static_cast<std::int16_t>((exact.mantissa + (1 << 15)) >> 16);
    exponent = exact.exponent;
  }

  std::int16_t mantissa;
  int exponent;
};

// x / 3 from -1 to 1, of which 32768 (saturated) is 1; shifted left in two steps so that only the last one saturates.
std::int16_t OverThree(std::int16_t x, const ShortMultiplier& factor) {
  const int left = factor.exponent > 0 ? factor.exponent : 0;
  if (left > 0) x = Saturate16(SaturatingShiftLeft(x, left - 1));
  x = RoundingDoublingHighMul16(x, factor.mantissa);
  if (left > 0) x = Saturate16(2 * x);
  return RoundingDivideByPowerOfTwo16(x, left - factor.exponent);
}

}  // namespace

std::int32_t OneOverOnePlus(std::int32_t x) { return SaturatingShiftLeft(TwoOverOnePlus(x), 1); }

void FillLogistic(const Quantization& input, std::int8_t table[kTableSize]) { FillSigmoid(input, table, Logistic); }

void FillTanh(const Quantization& input, std::int8_t table[kTableSize]) { FillSigmoid(input, table, Tanh); }

bool FillHardSwish(const Quantization& input, const Quantization& output, std::int8_t table[kTableSize]) {
  // 7 bits more than the input's, in float as the original has it.
  const float fine_scale = (1.0f / 128.0f) * input.scale;
  const ShortMultiplier to_output(static_cast<double>(fine_scale / output.scale));
  const ShortMultiplier to_three(static_cast<double>(fine_scale / (3.0f / 32768.0f)));
  if (to_output.exponent > 0) return false;
  for (int i = 0; i < kTableSize; ++i) {
    const std::int16_t x = static_cast<std::int16_t>((i + kInt8Min - input.zero_point) * 128);
    const std::int32_t gate = (OverThree(x, to_three) + 32768) >> 1;
    // Truncated, not rounded: that cancels the bias of the roundings before.
    const std::int32_t product = gate * RoundingDoublingHighMul16(x, to_output.mantissa) / (1 << 15);
    table[i] = ClampToInt8(
        RoundingDivideByPowerOfTwo16(static_cast<std::int16_t>(product), -to_output.exponent) + output.zero_point);
  }
  return true;
}

bool FillSwish(const Quantization& input, const Quantization& output, std::int8_t table[kTableSize]) {
  std::int8_t values[kTableSize];
  for (int i = 0; i < kTableSize; ++i) values[i] = static_cast<std::int8_t>(i + kInt8Min);
  std::int8_t gates[kTableSize];
  FillLogistic(input, gates);
  ProductParameters parameters;
  if (!MakeProduct(input, kUnitQuantization, output, {output.zero_point, kInt8Min, kInt8Max}, &parameters)) return false;
  const Broadcast same = {1, {kTableSize}, {1}, {1}};
  Product(parameters, same, values, gates, table);
  return true;
}

constexpr int kExponentialBits = 5;

double ExponentialFactor(float input_scale, float beta) {
  return static_cast<double>(beta) * static_cast<double>(input_scale) * (1 << (31 - kExponentialBits));
}

bool HasExponentials(float input_scale, float beta) { return ExponentialFactor(input_scale, beta) > 1.0; }

void FillExponentials(float input_scale, float beta, std::int32_t table[kTableSize]) {
  const double real = ExponentialFactor(input_scale, beta);
  const QuantizedMultiplier factor = QuantizeMultiplier(std::fmin(real, (std::int64_t{1} << 31) - 1.0));
  const std::int32_t radius = InputRadius(kExponentialBits, factor.exponent);
  // HasExponentials: the factor's exponent is above 0.
  const std::int32_t unit = std::int32_t{1} << factor.exponent;
  for (int d = 0; d < kTableSize; ++d) {
    const std::int32_t x = d <= radius ? RoundingDoublingHighMulNormal(-d * unit, factor.mantissa) : 0;
    table[kTableSize - 1 - d] = d <= radius ? ExpOfNegative(x, kExponentialBits) : 0;
  }
}

}  // namespace kser
