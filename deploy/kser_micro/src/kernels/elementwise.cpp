#include "optimize.h"

#include "arithmetic.h"

namespace kser {
namespace {

// How far two inputs move along the axes of a tensor, the axis in front counted last.
struct Mover {
  int size;
  int step_a;
  int step_b;
};

bool MovesOn(const Broadcast& broadcast, int axis, const Mover& mover) {
  return broadcast.step_a[axis] * broadcast.size[axis] == mover.step_a &&
         broadcast.step_b[axis] * broadcast.size[axis] == mover.step_b;
}

// A run along the last axis.
struct Row {
  const std::int8_t* a;
  const std::int8_t* b;
  int step_a;
  int step_b;
  int size;
  std::int8_t* output;
};

template <typename Function>
void ForEachRow(const Broadcast& broadcast, int axis, const std::int8_t* a, const std::int8_t* b, std::int8_t** output,
                const Function& function) {
  const int size = broadcast.size[axis];
  const int step_a = broadcast.step_a[axis];
  const int step_b = broadcast.step_b[axis];
  if (axis == broadcast.axes - 1) {
    function(Row{a, b, step_a, step_b, size, *output});
    *output += size;
    return;
  }
  for (int i = 0; i < size; ++i, a += step_a, b += step_b) ForEachRow(broadcast, axis + 1, a, b, output, function);
}

// What the inner loops need, got from the parameters once. Of a sum the input of the larger scale is only shifted, its factor
// being a half; the other one is rescaled. Both enter the sum doubled, as Rescale wants it:
// wide * wide_factor + sign * rescale((narrow - narrow_zero_point) 2^21) + bias.
constexpr int kLeftShift = 20;
struct SumConstants {
  explicit SumConstants(const SumParameters& p)
      : wide_factor((p.wide_is_negative ? -1 : 1) * (std::int32_t{1} << kLeftShift)),
        bias(-p.wide_zero_point * wide_factor),
        narrow_zero_point(p.narrow_zero_point),
        narrow_sign(p.narrow_is_negative ? -2 : 2),
        narrow(MakeRescale({p.narrow_mantissa, p.narrow_exponent})),
        output(MakeRescale({p.output_mantissa, p.output_exponent})),
        range(p.range) {}

  std::int32_t wide_factor;
  std::int32_t bias;
  std::int32_t narrow_zero_point;
  std::int32_t narrow_sign;
  Rescale narrow;
  Rescale output;
  OutputRange range;
};

struct ProductConstants {
  explicit ProductConstants(const ProductParameters& p)
      : zero_point_a(p.zero_point_a),
        zero_point_b(p.zero_point_b),
        doubling(p.exponent > 0 ? std::int32_t{2} << p.exponent : 2),
        output(MakeRescale({p.mantissa, p.exponent > 0 ? 0 : p.exponent})),
        range(p.range) {}

  std::int32_t zero_point_a;
  std::int32_t zero_point_b;
  std::int32_t doubling;
  Rescale output;
  OutputRange range;
};

// Constants are copied first: an int8 written could be part of whatever is behind a reference, for all a compiler knows.

// The wide input is a.
KSER_NOINLINE void SumRow(const SumConstants& constants, const Row& row) {
  const SumConstants p = constants;
  const Row r = row;
  const std::int8_t* wide = r.a;
  const std::int8_t* narrow = r.b;
  std::int8_t* output = r.output;
  for (const std::int8_t* const end = output + r.size; output != end; wide += r.step_a, narrow += r.step_b) {
    const std::int32_t rescaled = p.narrow((*narrow - p.narrow_zero_point) * (1 << (kLeftShift + 1)));
    const std::int32_t sum = *wide * p.wide_factor + p.bias + rescaled * p.narrow_sign;
    *output++ = static_cast<std::int8_t>(Clamp(p.output(sum) + p.range.zero_point, p.range.low, p.range.high));
  }
}

KSER_NOINLINE void ProductRow(const ProductConstants& constants, const Row& row) {
  const ProductConstants p = constants;
  const Row r = row;
  const std::int8_t* a = r.a;
  const std::int8_t* b = r.b;
  std::int8_t* output = r.output;
  for (const std::int8_t* const end = output + r.size; output != end; a += r.step_a, b += r.step_b) {
    const std::int32_t product = (*a - p.zero_point_a) * (*b - p.zero_point_b);
    *output++ = static_cast<std::int8_t>(
        Clamp(p.output(product * p.doubling) + p.range.zero_point, p.range.low, p.range.high));
  }
}

}  // namespace

bool MakeBroadcast(const int shape_a[kMaxAxes], const int shape_b[kMaxAxes], Broadcast* broadcast) {
  // From the last axis to the first, so that steps are known; turned round at the end.
  Broadcast reversed = {1, {1}, {0}, {0}};
  int step_a = 1;
  int step_b = 1;
  for (int axis = kMaxAxes - 1; axis >= 0; --axis) {
    const int a = shape_a[axis];
    const int b = shape_b[axis];
    if (a != b && a != 1 && b != 1) return false;
    const Mover mover = {a == 1 ? b : a, a == 1 ? 0 : step_a, b == 1 ? 0 : step_b};
    step_a *= a;
    step_b *= b;
    if (mover.size == 1) continue;
    const int inner = reversed.axes - 1;
    if (reversed.size[inner] == 1) {
      reversed.size[inner] = mover.size;
      reversed.step_a[inner] = mover.step_a;
      reversed.step_b[inner] = mover.step_b;
    } else if (MovesOn(reversed, inner, mover)) {
      reversed.size[inner] *= mover.size;
    } else {
      reversed.size[inner + 1] = mover.size;
      reversed.step_a[inner + 1] = mover.step_a;
      reversed.step_b[inner + 1] = mover.step_b;
      ++reversed.axes;
    }
  }
  broadcast->axes = reversed.axes;
  for (int axis = 0; axis < reversed.axes; ++axis) {
    const int from = reversed.axes - 1 - axis;
    broadcast->size[axis] = reversed.size[from];
    broadcast->step_a[axis] = reversed.step_a[from];
    broadcast->step_b[axis] = reversed.step_b[from];
  }
  return true;
}

bool MakeSum(SumKind kind, const Quantization& a, const Quantization& b, const Quantization& output,
             const OutputRange& range, SumParameters* parameters) {
  // Inputs are shifted left by kLeftShift bits, and their factors are relative to twice the larger scale.
  const bool wide_is_b = b.scale > a.scale;
  const Quantization& wide = wide_is_b ? b : a;
  const Quantization& narrow = wide_is_b ? a : b;
  const float twice_wide = 2 * wide.scale;
  // ADD divides in double, SUB in float.
  const double narrow_factor = kind == SumKind::kAdd ? static_cast<double>(narrow.scale) / static_cast<double>(twice_wide)
                                                     : static_cast<double>(narrow.scale / twice_wide);
  const float shifted_output = (1 << kLeftShift) * output.scale;
  const double output_factor = kind == SumKind::kAdd ? static_cast<double>(twice_wide) / static_cast<double>(shifted_output)
                                                     : static_cast<double>(twice_wide / shifted_output);
  const QuantizedMultiplier of_narrow = QuantizeMultiplier(narrow_factor);
  const QuantizedMultiplier of_output = QuantizeMultiplier(output_factor);
  if (of_output.exponent > 0) return false;
  *parameters = {of_narrow.mantissa,
                 of_output.mantissa,
                 static_cast<std::int8_t>(of_narrow.exponent),
                 static_cast<std::int8_t>(of_output.exponent),
                 static_cast<std::int8_t>(wide.zero_point),
                 static_cast<std::int8_t>(narrow.zero_point),
                 range,
                 wide_is_b,
                 kind == SumKind::kSub && wide_is_b,
                 kind == SumKind::kSub && !wide_is_b};
  return true;
}

void Sum(const SumParameters& parameters, const Broadcast& broadcast, const std::int8_t* a, const std::int8_t* b,
         std::int8_t* output) {
  const SumConstants constants(parameters);
  ForEachRow(broadcast, 0, a, b, &output, [&](const Row& row) {
    const Row swapped = {row.b, row.a, row.step_b, row.step_a, row.size, row.output};
    SumRow(constants, parameters.wide_is_b ? swapped : row);
  });
}

bool MakeProduct(const Quantization& a, const Quantization& b, const Quantization& output, const OutputRange& range,
                 ProductParameters* parameters) {
  const QuantizedMultiplier factor = QuantizeMultiplier(static_cast<double>(a.scale) * static_cast<double>(b.scale) /
                                                        static_cast<double>(output.scale));
  if (factor.exponent > 13) return false;
  *parameters = {factor.mantissa, static_cast<std::int8_t>(factor.exponent), static_cast<std::int8_t>(a.zero_point),
                 static_cast<std::int8_t>(b.zero_point), range};
  return true;
}

void Product(const ProductParameters& parameters, const Broadcast& broadcast, const std::int8_t* a, const std::int8_t* b,
             std::int8_t* output) {
  const ProductConstants constants(parameters);
  ForEachRow(broadcast, 0, a, b, &output, [&](const Row& row) { ProductRow(constants, row); });
}

}  // namespace kser
