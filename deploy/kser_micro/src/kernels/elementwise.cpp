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

// Calls row(a, b, output) for every run along the last axis.
template <typename Row>
void ForEachRow(const Broadcast& broadcast, int axis, const std::int8_t* a, const std::int8_t* b, std::int8_t** output,
                const Row& row) {
  const int last = broadcast.axes - 1;
  if (axis == last) {
    row(a, b, *output);
    *output += broadcast.size[last];
    return;
  }
  for (int i = 0; i < broadcast.size[axis]; ++i, a += broadcast.step_a[axis], b += broadcast.step_b[axis]) {
    ForEachRow(broadcast, axis + 1, a, b, output, row);
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
  // Inputs are shifted left by 20 bits, and their factors are relative to twice the larger scale.
  constexpr int kLeftShift = 20;
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
  const QuantizedMultiplier output_multiplier = QuantizeMultiplier(output_factor);
  if (output_multiplier.exponent > 0) return false;
  const std::int32_t sign_of_b = kind == SumKind::kAdd ? 1 : -1;
  parameters->wide_is_b = wide_is_b;
  parameters->wide_factor = (wide_is_b ? sign_of_b : 1) * (std::int32_t{1} << kLeftShift);
  parameters->bias = -wide.zero_point * parameters->wide_factor;
  parameters->narrow_zero_point = narrow.zero_point;
  parameters->narrow_sign = wide_is_b ? 2 : 2 * sign_of_b;
  parameters->narrow = MakeRescale(QuantizeMultiplier(narrow_factor));
  parameters->output = MakeRescale(output_multiplier);
  parameters->range = range;
  return true;
}

void Sum(const SumParameters& parameters, const Broadcast& broadcast, const std::int8_t* a, const std::int8_t* b,
         std::int8_t* output) {
  const SumParameters p = parameters;
  const int size = broadcast.size[broadcast.axes - 1];
  int wide_step = broadcast.step_a[broadcast.axes - 1];
  int narrow_step = broadcast.step_b[broadcast.axes - 1];
  if (p.wide_is_b) {
    const int step = wide_step;
    wide_step = narrow_step;
    narrow_step = step;
  }
  ForEachRow(broadcast, 0, a, b, &output, [&](const std::int8_t* row_a, const std::int8_t* row_b, std::int8_t* row) {
    const std::int8_t* wide = p.wide_is_b ? row_b : row_a;
    const std::int8_t* narrow = p.wide_is_b ? row_a : row_b;
    for (const std::int8_t* const end = row + size; row != end; wide += wide_step, narrow += narrow_step) {
      const std::int32_t rescaled = p.narrow((*narrow - p.narrow_zero_point) * (1 << 21));
      const std::int32_t sum = *wide * p.wide_factor + p.bias + rescaled * p.narrow_sign;
      *row++ = static_cast<std::int8_t>(Clamp(p.output(sum) + p.range.zero_point, p.range.low, p.range.high));
    }
  });
}

bool MakeProduct(const Quantization& a, const Quantization& b, const Quantization& output, const OutputRange& range,
                 ProductParameters* parameters) {
  QuantizedMultiplier factor = QuantizeMultiplier(static_cast<double>(a.scale) * static_cast<double>(b.scale) /
                                                  static_cast<double>(output.scale));
  const int left = factor.exponent > 0 ? factor.exponent : 0;
  if (left > 13) return false;
  factor.exponent -= left;
  *parameters = {a.zero_point, b.zero_point, left + 1, MakeRescale(factor), range};
  return true;
}

void Product(const ProductParameters& parameters, const Broadcast& broadcast, const std::int8_t* a,
             const std::int8_t* b, std::int8_t* output) {
  const ProductParameters p = parameters;
  const int last = broadcast.axes - 1;
  const int size = broadcast.size[last];
  const int step_a = broadcast.step_a[last];
  const int step_b = broadcast.step_b[last];
  const std::int32_t doubling = std::int32_t{1} << p.left_shift;
  ForEachRow(broadcast, 0, a, b, &output, [&](const std::int8_t* row_a, const std::int8_t* row_b, std::int8_t* row) {
    for (const std::int8_t* const end = row + size; row != end; row_a += step_a, row_b += step_b) {
      const std::int32_t product = (*row_a - p.zero_point_a) * (*row_b - p.zero_point_b);
      *row++ = static_cast<std::int8_t>(Clamp(p.output(product * doubling) + p.range.zero_point, p.range.low, p.range.high));
    }
  });
}

}  // namespace kser
