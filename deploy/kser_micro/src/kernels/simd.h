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

inline Lanes Load(const std::int8_t* values, Pair offsets) {
  std::int32_t word;
  std::memcpy(&word, values, sizeof(word));
  Lanes lanes;
  asm("sxtab16 %0, %1, %2" : "=r"(lanes.even) : "r"(offsets), "r"(word));
  asm("sxtab16 %0, %1, %2, ror #8" : "=r"(lanes.odd) : "r"(offsets), "r"(word));
  return lanes;
}

inline std::int32_t Dot(Lanes a, Lanes b, std::int32_t sum) {
  return __smlad(a.odd, b.odd, __smlad(a.even, b.even, sum));
}

inline std::int32_t SumOf(Lanes a, std::int32_t sum) {
  constexpr Pair kOnes = 0x10001;
  return __smlad(a.odd, kOnes, __smlad(a.even, kOnes, sum));
}

#else

inline Pair PairOf(std::int32_t x) { return x; }
inline std::int32_t OffsetOf(Pair pair) { return pair; }

constexpr int kLanes = 1;
using Lanes = std::int32_t;

inline Lanes Load(const std::int8_t* value, Pair offset) { return *value + offset; }
inline std::int32_t Dot(Lanes a, Lanes b, std::int32_t sum) { return sum + a * b; }
inline std::int32_t SumOf(Lanes a, std::int32_t sum) { return sum + a; }

#endif

}  // namespace kser

#endif  // KSER_KERNELS_SIMD_H_
