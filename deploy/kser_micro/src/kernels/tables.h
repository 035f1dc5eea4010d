// Tables of functions of one int8 value, filled by the arithmetic that TensorFlow Lite's kernels apply to every element.
//
// That arithmetic (gemmlowp's fixedpoint.h and TensorFlow Lite's reference kernels) is written out here rather than
// included: its headers have moved twice between the versions of TensorFlow Lite Micro that boards come with.
#ifndef KSER_KERNELS_TABLES_H_
#define KSER_KERNELS_TABLES_H_

#include <cstdint>

#include "quantize.h"

namespace kser {

constexpr int kTableSize = 256;

// Entry x + 128 is the output of an input x.
void FillLogistic(const Quantization& input, std::int8_t table[kTableSize]);
void FillTanh(const Quantization& input, std::int8_t table[kTableSize]);

// x LOGISTIC(x), the factor being quantized in between; false where MakeProduct is false.
bool FillSwish(const Quantization& input, const Quantization& output, std::int8_t table[kTableSize]);
// As SOFTMAX and LOGISTIC of TensorFlow Lite have it.
constexpr Quantization kUnitQuantization = {1.0f / 256.0f, -128};

// false if the output's scale is too small for the kernel of TensorFlow Lite, which then refuses as well.
bool FillHardSwish(const Quantization& input, const Quantization& output, std::int8_t table[kTableSize]);

// Entry 255 - d is exp(-d beta scale) with 31 fractional bits, for inputs d below the largest of their row; 0 where
// TensorFlow Lite leaves an input out of the sum.
void FillExponentials(float input_scale, float beta, std::int32_t table[kTableSize]);
// Whether TensorFlow Lite can: false if beta scale is too small for it.
bool HasExponentials(float input_scale, float beta);

// 1 / (1 + x), both with 31 fractional bits, 0 <= x < 1.
std::int32_t OneOverOnePlus(std::int32_t x);

}  // namespace kser

#endif  // KSER_KERNELS_TABLES_H_
