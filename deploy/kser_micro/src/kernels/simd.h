// Four int8 values at a time, with the DSP instructions of Armv7E-M or in plain C++.
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

// An offset of int8 values, laid out for LoadFour: on Armv7E-M twice, with 16 bits each.
using Pair = std::int32_t;

#if defined(__ARM_FEATURE_DSP)

inline std::int32_t OffsetOf(Pair pair) { return static_cast<std::int16_t>(pair); }
inline Pair PairOf(std::int32_t x) { return (x & 0xffff) | static_cast<Pair>(static_cast<std::uint32_t>(x) << 16); }

// Four neighbouring values, each with an offset added: the first and third, the second and fourth.
struct Four {
  Pair even;
  Pair odd;
};

inline Four LoadFour(const std::int8_t* values, Pair offsets) {
  std::int32_t word;
  std::memcpy(&word, values, sizeof(word));
  Four four;
  asm("sxtab16 %0, %1, %2" : "=r"(four.even) : "r"(offsets), "r"(word));
  asm("sxtab16 %0, %1, %2, ror #8" : "=r"(four.odd) : "r"(offsets), "r"(word));
  return four;
}

inline std::int32_t Dot(Four a, Four b, std::int32_t sum) {
  return __smlad(a.odd, b.odd, __smlad(a.even, b.even, sum));
}

inline std::int32_t SumOf(Four a, std::int32_t sum) {
  constexpr Pair kOnes = 0x10001;
  return __smlad(a.odd, kOnes, __smlad(a.even, kOnes, sum));
}

#else

inline Pair PairOf(std::int32_t x) { return x; }
inline std::int32_t OffsetOf(Pair pair) { return pair; }

struct Four {
  std::int32_t value[4];
};

inline Four LoadFour(const std::int8_t* values, Pair offset) {
  return {{values[0] + offset, values[1] + offset, values[2] + offset, values[3] + offset}};
}

inline std::int32_t Dot(Four a, Four b, std::int32_t sum) {
  for (int i = 0; i < 4; ++i) sum += a.value[i] * b.value[i];
  return sum;
}

inline std::int32_t SumOf(Four a, std::int32_t sum) {
  for (int i = 0; i < 4; ++i) sum += a.value[i];
  return sum;
}

#endif

}  // namespace kser

#endif  // KSER_KERNELS_SIMD_H_
