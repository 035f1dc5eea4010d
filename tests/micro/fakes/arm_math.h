// What the firmware uses of CMSIS-DSP's transforms.
#ifndef KSER_TESTS_MICRO_FAKES_ARM_MATH_H_
#define KSER_TESTS_MICRO_FAKES_ARM_MATH_H_

#include <cstdint>
#include <cstdlib>

#include "plain_fft.h"

typedef float float32_t;

typedef struct {
  uint16_t fftLen;
} arm_cfft_instance_f32;

inline void arm_cfft_f32(const arm_cfft_instance_f32* instance, float32_t* samples, uint8_t inverse, uint8_t in_order) {
  if (inverse != 0 || in_order != 1) std::abort();
  kser_test::PlainFft(samples, instance->fftLen);
}

#endif  // KSER_TESTS_MICRO_FAKES_ARM_MATH_H_
