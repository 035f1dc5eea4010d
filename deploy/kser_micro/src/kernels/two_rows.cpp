#include "optimize.h"

#include "two_rows.h"

namespace kser {
namespace {

// Of two stored rows with twice `pairs` columns: sums of products of quads times kLanes values, from `start` on.
#if defined(__ARM_FEATURE_DSP)

// 16 instructions for 16 products: four loads (the first one's of four registers), four times two bytes made half-words, eight
// double products, and half of the two that make the loop, which an odd number of quads enters in its middle. All of the
// registers are in use, which no compiler manages. On the stack: rows, depth, quads, nine saved registers, arguments.
__attribute__((naked, noinline)) void MultiplyPairs(const Pair* /*rows*/, const std::int8_t* /*columns*/, int /*depth*/,
                                                      int /*quads*/, int /*pairs*/, int /*rest*/, Sums /*start*/,
                                                      Sums* /*sums*/) {
#define KSER_COLUMN(column, sum_a, sum_b)       \
  "ldr r12, [" column "], #4\n"                 \
  "sxtb16 lr, r12\n"                            \
  "sxtb16 r12, r12, ror #8\n"                   \
  "smlad " sum_a ", r8, lr, " sum_a "\n"        \
  "smlad " sum_b ", r10, lr, " sum_b "\n"       \
  "smlad " sum_a ", r9, r12, " sum_a "\n"       \
  "smlad " sum_b ", r11, r12, " sum_b "\n"
#define KSER_QUAD "ldmia r0!, {r8-r11}\n" KSER_COLUMN("r1", "r4", "r5") KSER_COLUMN("r2", "r6", "r7")
  asm volatile(
      "push {r0, r2-r11, lr}\n"
      "0:\n"
      "ldmia sp, {r0, r2, r3}\n"
      "ldrd r4, r5, [sp, #56]\n"
      "adds r2, r2, r1\n"
      "mov r6, r4\n"
      "mov r7, r5\n"
      "lsrs r3, r3, #1\n"
      "bcs 2f\n"
      "subs r3, r3, #1\n"
      "bmi 3f\n"
      "1:\n" KSER_QUAD
      "2:\n" KSER_QUAD
      "subs r3, r3, #1\n"
      "bpl 1b\n"
      "3:\n"
      "ldr r3, [sp, #64]\n"
      "stmia r3!, {r4-r7}\n"
      "str r3, [sp, #64]\n"
      "ldrd r3, r0, [sp, #48]\n"
      "adds r1, r2, r0\n"
      "subs r3, r3, #1\n"
      "str r3, [sp, #48]\n"
      "bne 0b\n"
      "pop {r0, r2-r11, pc}\n");
#undef KSER_QUAD
#undef KSER_COLUMN
}

#else

KSER_NOINLINE void MultiplyPairs(const Pair* rows, const std::int8_t* columns, int depth, int quads, int pairs, int,
                                   Sums start, Sums* sums) {
  for (const Sums* const end = sums + 2 * pairs; sums != end; sums += 2, columns += 2 * depth) {
    Sums first = start;
    Sums second = start;
    for (int i = 0; i < quads; ++i) {
      const std::int32_t a = static_cast<std::int16_t>(rows[i]);
      const std::int32_t b = rows[i] >> 16;
      first.a += a * columns[i];
      first.b += b * columns[i];
      second.a += a * columns[depth + i];
      second.b += b * columns[depth + i];
    }
    sums[0] = first;
    sums[1] = second;
  }
}

#endif

// Adds what is left over of whole lanes.
KSER_NOINLINE void AddRest(const StoredRows& rows, const std::int8_t* columns, int count, int rest, Sums* sums) {
  const int whole = rows.depth - rest;
  Lanes a;
  Lanes b;
  LoadRows(rows.values + whole, &a, &b);
  columns += whole;
  for (const Sums* const end = sums + count; sums != end; ++sums, columns += rows.depth) {
    const Lanes last = LoadSome(columns, rest, 0);
    *sums = {Dot(a, last, sums->a), Dot(b, last, sums->b)};
  }
}

}  // namespace

StoredRows StoreTwoRows(std::int32_t offset, const std::int8_t* a, const std::int8_t* b, int depth, Pair* workspace) {
  const Pair offsets = PairOf(offset);
  const int rest = depth % kLanes;
  const StoredRows rows = {workspace, depth, {0, 0}};
  for (const std::int8_t* const end = a + depth - rest; a != end; a += kLanes, b += kLanes, workspace += kLanes) {
    StoreRows(Load(a, offsets), Load(b, offsets), workspace);
  }
  if (rest > 0) StoreRows(LoadSome(a, rest, offsets), LoadSome(b, rest, offsets), workspace);
  return rows;
}

void MultiplyColumns(const StoredRows& rows, const std::int8_t* columns, int count, Sums* sums) {
  const int quads = rows.depth / kLanes;
  const int rest = rows.depth % kLanes;
  const int even = count / 2 * 2;
  if (even > 0) MultiplyPairs(rows.values, columns, rows.depth, quads, count / 2, rest, rows.start, sums);
  // The last of an odd number on its own, as if it came twice.
  if (even < count) MultiplyPairs(rows.values, columns + even * rows.depth, 0, quads, 1, 0, rows.start, sums + even);
  if (rest > 0) AddRest(rows, columns, count, rest, sums);
}

}  // namespace kser
