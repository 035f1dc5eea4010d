// Sums of products of int8 values: four at a time with the DSP instructions of Armv7E-M, one at a time in plain C++.
#ifndef KSER_KERNELS_SIMD_H_
#define KSER_KERNELS_SIMD_H_

#include <cstdint>
#include <cstring>

#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#endif

// For loops that need all registers, which a caller's values would drive out of them.
#if defined(__GNUC__)
#define KSER_NOINLINE __attribute__((noinline))
#else
#define KSER_NOINLINE
#endif

namespace kser {

// An offset of int8 values, laid out for Load: on Armv7E-M twice, with 16 bits each.
using Pair = std::int32_t;

#if defined(__ARM_FEATURE_DSP)

inline std::int32_t OffsetOf(Pair pair) { return static_cast<std::int16_t>(pair); }
inline Pair PairOf(std::int32_t x) { return (x & 0xffff) | static_cast<Pair>(static_cast<std::uint32_t>(x) << 16); }

// Four neighbouring values, each with an offset added: the first and third, the second and fourth.
constexpr int kLanes = 4;
struct Lanes {
  Pair even;
  Pair odd;
};

inline Lanes LanesOf(std::uint32_t word, Pair offsets) {
  Lanes lanes;
  asm("sxtab16 %0, %1, %2" : "=r"(lanes.even) : "r"(offsets), "r"(word));
  asm("sxtab16 %0, %1, %2, ror #8" : "=r"(lanes.odd) : "r"(offsets), "r"(word));
  return lanes;
}

inline Lanes Load(const std::int8_t* values, Pair offsets) {
  std::uint32_t word;
  std::memcpy(&word, values, sizeof(word));
  return LanesOf(word, offsets);
}

inline std::int32_t Dot(Lanes a, Lanes b, std::int32_t sum) {
  return __smlad(a.odd, b.odd, __smlad(a.even, b.even, sum));
}

inline std::int32_t SumOf(Lanes a, std::int32_t sum) {
  constexpr Pair kOnes = 0x10001;
  return __smlad(a.odd, kOnes, __smlad(a.even, kOnes, sum));
}

// Four values of row a and of row b as they are stored: a word for each pair of values.
inline void StoreRows(Lanes a, Lanes b, Pair* rows) {
  rows[0] = a.even;
  rows[1] = a.odd;
  rows[2] = b.even;
  rows[3] = b.odd;
}

inline void LoadRows(const Pair* rows, Lanes* a, Lanes* b) {
  *a = {rows[0], rows[1]};
  *b = {rows[2], rows[3]};
}

// The `count` values, 1 to 3, that end a row, taken for four, of which the rest are 0; an offset added to each.
inline Lanes LoadSome(const std::int8_t* values, int count, Pair offsets) {
  std::uint32_t word = static_cast<std::uint8_t>(values[0]);
  if (count > 1) word |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(values[1])) << 8;
  if (count > 2) word |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(values[2])) << 16;
  return LanesOf(word, offsets);
}

inline std::int32_t DotPair(Pair a, Pair b, std::int32_t sum) { return __smlad(a, b, sum); }

#else

inline Pair PairOf(std::int32_t x) { return x; }
inline std::int32_t OffsetOf(Pair pair) { return pair; }

constexpr int kLanes = 1;
using Lanes = std::int32_t;

inline Lanes Load(const std::int8_t* value, Pair offset) { return *value + offset; }
inline std::int32_t Dot(Lanes a, Lanes b, std::int32_t sum) { return sum + a * b; }
inline std::int32_t SumOf(Lanes a, std::int32_t sum) { return sum + a; }

inline void StoreRows(Lanes a, Lanes b, Pair* rows) {
  *rows = static_cast<Pair>((static_cast<std::uint32_t>(b) << 16) | (static_cast<std::uint32_t>(a) & 0xffff));
}

inline void LoadRows(const Pair* rows, Lanes* a, Lanes* b) {
  *a = static_cast<std::int16_t>(*rows);
  *b = *rows >> 16;
}

// There is no rest.
inline Lanes LoadSome(const std::int8_t*, int, Pair) { return 0; }

inline std::int32_t DotPair(Pair a, Pair b, std::int32_t sum) {
  return sum + static_cast<std::int16_t>(a) * static_cast<std::int16_t>(b) + (a >> 16) * (b >> 16);
}

#endif

// Two neighbouring half-words.
inline Pair LoadPair(const std::int16_t* values) {
  Pair pair;
  std::memcpy(&pair, values, sizeof(pair));
  return pair;
}

// The sum of int8 values, added to `sum`.
inline std::int32_t SumOfValues(const std::int8_t* values, int count, std::int32_t sum) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) sum = SumOf(Load(values + i, 0), sum);
  for (; i < count; ++i) sum += values[i];
  return sum;
}

}  // namespace kser

#endif  // KSER_KERNELS_SIMD_H_
