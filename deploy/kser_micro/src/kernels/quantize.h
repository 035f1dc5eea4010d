// Quantization parameters as TensorFlow Lite derives them from scales, once per node when a model is loaded.
#ifndef KSER_KERNELS_QUANTIZE_H_
#define KSER_KERNELS_QUANTIZE_H_

#include <cstdint>

#include "fixed_point.h"

namespace kser {

// real_value = scale (quantized - zero_point).
struct Quantization {
  float scale;
  std::int32_t zero_point;
};

inline bool operator==(const Quantization& a, const Quantization& b) {
  return a.scale == b.scale && a.zero_point == b.zero_point;
}

// The factor nearest to a real one; 0 where that is below 2^-32.
QuantizedMultiplier QuantizeMultiplier(double factor);

// The largest |input| that, multiplied by 2^left_shift, stays within a fixed-point number of those integer bits.
std::int32_t InputRadius(int integer_bits, int left_shift);

}  // namespace kser

#endif  // KSER_KERNELS_QUANTIZE_H_
