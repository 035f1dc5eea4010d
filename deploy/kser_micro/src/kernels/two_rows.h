// Products of two rows of int8 values with many columns: what FULLY_CONNECTED, BATCH_MATMUL and CONV_2D spend their time on.
#ifndef KSER_KERNELS_TWO_ROWS_H_
#define KSER_KERNELS_TWO_ROWS_H_

#include "simd.h"

namespace kser {

// Of two rows, a and b, with a column.
struct Sums {
  std::int32_t a;
  std::int32_t b;
};

// Two rows as half-words, in words of a workspace: a word for each pair of values, their number rounded up to kLanes.
struct StoredRows {
  const Pair* values;
  int depth;
  Sums start;  // of the sums with every column
};

// Adds the offset to every value.
StoredRows StoreTwoRows(std::int32_t offset, const std::int8_t* a, const std::int8_t* b, int depth, Pair* workspace);

// The sums with `count` columns, each `depth` neighbouring values. Writes a sum more where the count is odd.
void MultiplyColumns(const StoredRows& rows, const std::int8_t* columns, int count, Sums* sums);

// So many sums, an even number, wait on the stack until they are finished.
constexpr int kBlockColumns = 32;

}  // namespace kser

#endif  // KSER_KERNELS_TWO_ROWS_H_
