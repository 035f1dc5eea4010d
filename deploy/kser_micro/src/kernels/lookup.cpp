#include "optimize.h"

#include "arithmetic.h"

namespace kser {

void Lookup(const std::int8_t table[kTableSize], const std::int8_t* input, int size, std::int8_t* output) {
  const std::int8_t* const zero = table - kInt8Min;
  int i = 0;
  for (; i + 4 <= size; i += 4) {
    output[i] = zero[input[i]];
    output[i + 1] = zero[input[i + 1]];
    output[i + 2] = zero[input[i + 2]];
    output[i + 3] = zero[input[i + 3]];
  }
  for (; i < size; ++i) output[i] = zero[input[i]];
}

}  // namespace kser
