#include "optimize.h"

#include <cstring>

#include "arithmetic.h"

namespace kser {
namespace {

struct Cursor {
  const std::int8_t* input;
  std::int8_t* output;
  std::int8_t value;

  void Fill(int size) {
    std::memset(output, value, size);
    output += size;
  }
  void Copy(int size) {
    std::memcpy(output, input, size);
    input += size;
    output += size;
  }
};

// Values of the output that a step along the axis moves on by.
int StepOf(const Padding& p, int axis) {
  int step = 1;
  while (++axis < kMaxAxes) step *= p.before[axis] + p.size[axis] + p.after[axis];
  return step;
}

// Whether nothing is added along the axes from `axis` on: their values are copied in one.
bool IsWhole(const Padding& p, int axis) {
  for (; axis < kMaxAxes; ++axis) {
    if (p.before[axis] != 0 || p.after[axis] != 0) return false;
  }
  return true;
}

void PadAxis(const Padding& p, int axis, Cursor* cursor) {
  const int step = StepOf(p, axis);
  cursor->Fill(p.before[axis] * step);
  if (IsWhole(p, axis + 1)) {
    cursor->Copy(p.size[axis] * step);
  } else {
    for (int i = 0; i < p.size[axis]; ++i) PadAxis(p, axis + 1, cursor);
  }
  cursor->Fill(p.after[axis] * step);
}

}  // namespace

void Pad(const Padding& padding, std::int8_t value, const std::int8_t* input, std::int8_t* output) {
  Cursor cursor = {input, output, value};
  PadAxis(padding, 0, &cursor);
}

}  // namespace kser
