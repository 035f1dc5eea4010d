// The kernels' arithmetic on plain pointers: TensorFlow Lite's int8 results, bit for bit, without TensorFlow Lite.
//
// Nothing here allocates. Where a processor has Armv7E-M's DSP instructions they are used (see simd.h).
#ifndef KSER_KERNELS_ARITHMETIC_H_
#define KSER_KERNELS_ARITHMETIC_H_

#include <cstdint>

#include "fixed_point.h"
#include "quantize.h"
#include "simd.h"
#include "tables.h"

namespace kser {

// output[i] = table[input[i] + 128].
void Lookup(const std::int8_t table[kTableSize], const std::int8_t* input, int size, std::int8_t* output);

// Softmax over rows of `depth` values; the table is FillExponentials'. The output's scale is 1/256, its zero point -128.
void Softmax(const std::int32_t exponentials[kTableSize], const std::int8_t* input, int rows, int depth,
             std::int8_t* output);

// x / |x| over rows of `depth` values. The output's scale is 1/128, its zero point 0.
void L2Normalize(std::int32_t input_zero_point, const std::int8_t* input, int rows, int depth, std::int8_t* output);

// Mean over the middle one of three axes.
struct MeanParameters {
  std::int32_t start;  // of the sum: the zero points of all values, negative
  std::int32_t doubling;
  Rescale output;
  std::int32_t output_zero_point;
};
// false if sums of `count` values would leave 32 bits.
bool MakeMean(const Quantization& input, const Quantization& output, int count, MeanParameters* parameters);
void Mean(const MeanParameters& parameters, const std::int8_t* input, int outer, int count, int inner,
          std::int8_t* output);

// Two inputs of an element-wise op, broadcast to its output: sizes of the output's axes and, for each, how far the inputs
// move along it (0 where an input is repeated). Neighbouring axes that move alike are one.
constexpr int kMaxAxes = 6;
struct Broadcast {
  int axes;
  int size[kMaxAxes];
  int step_a[kMaxAxes];
  int step_b[kMaxAxes];

  int Elements() const {
    int elements = 1;
    for (int axis = 0; axis < axes; ++axis) elements *= size[axis];
    return elements;
  }
};
// Of shapes filled up with ones from the left to kMaxAxes. false if they do not broadcast.
bool MakeBroadcast(const int shape_a[kMaxAxes], const int shape_b[kMaxAxes], Broadcast* broadcast);

struct OutputRange {
  std::int32_t zero_point;
  std::int32_t low;
  std::int32_t high;
};

// Parameters of kernels are kept for every node of a model, in an arena that gives out pieces of 16 bytes: bytes where bytes do.
struct ByteRange {
  std::int8_t zero_point;
  std::int8_t low;
  std::int8_t high;

  ByteRange() = default;
  ByteRange(const OutputRange& range)  // NOLINT: what is quantized to int8 fits
      : zero_point(static_cast<std::int8_t>(range.zero_point)),
        low(static_cast<std::int8_t>(range.low)),
        high(static_cast<std::int8_t>(range.high)) {}
  operator OutputRange() const { return {zero_point, low, high}; }  // NOLINT: the same values
};

// a + b or a - b. The factors' exponents are not above 0.
struct SumParameters {
  std::int32_t narrow_mantissa;
  std::int32_t output_mantissa;
  std::int8_t narrow_exponent;
  std::int8_t output_exponent;
  std::int8_t wide_zero_point;
  std::int8_t narrow_zero_point;
  ByteRange range;
  bool wide_is_b : 1;
  bool wide_is_negative : 1;
  bool narrow_is_negative : 1;
};
enum class SumKind { kAdd, kSub };
// false if the output's scale is too small for the kernel of TensorFlow Lite, which then aborts.
bool MakeSum(SumKind kind, const Quantization& a, const Quantization& b, const Quantization& output,
             const OutputRange& range, SumParameters* parameters);
void Sum(const SumParameters& parameters, const Broadcast& broadcast, const std::int8_t* a, const std::int8_t* b,
         std::int8_t* output);

// a b.
struct ProductParameters {
  std::int32_t mantissa;
  std::int8_t exponent;
  std::int8_t zero_point_a;
  std::int8_t zero_point_b;
  ByteRange range;
};
// false if products would leave 32 bits, where TensorFlow Lite's arithmetic is undefined.
bool MakeProduct(const Quantization& a, const Quantization& b, const Quantization& output, const OutputRange& range,
                 ProductParameters* parameters);
void Product(const ProductParameters& parameters, const Broadcast& broadcast, const std::int8_t* a,
             const std::int8_t* b, std::int8_t* output);

// left (rows, depth) times the transposed of right (columns, depth), plus a bias for each column: FULLY_CONNECTED, BATCH_MATMUL
// and, of the windows that a filter sees, CONV_2D.
struct MatrixProductParameters {
  union {
    const QuantizedMultiplier* factors;  // one for each column
    std::int32_t mantissa;               // or of that for all
  };
  std::int8_t exponent;
  bool each_its_own;
  bool exact;  // something is beyond the fast multiplication
  std::int8_t left_zero_point;
  std::int8_t right_zero_point;
  ByteRange range;

  void SetFactor(QuantizedMultiplier factor) {
    mantissa = factor.mantissa;
    exponent = static_cast<std::int8_t>(factor.exponent);
  }
  QuantizedMultiplier FactorOf(int column) const {
    return each_its_own ? factors[column] : QuantizedMultiplier{mantissa, exponent};
  }
};
MatrixProductParameters MakeMatrixProduct(const Quantization& left, const Quantization& right, const Quantization& output,
                                          const OutputRange& range);
// Of a column whose scale is its own. TensorFlow Lite multiplies such in double, the scales above in float.
QuantizedMultiplier ColumnFactor(float left_scale, float column_scale, float output_scale);

// The largest sum of `depth` products and a bias.
std::int64_t LargestSum(int depth, std::int64_t largest_bias);
// Whether such a sum, shifted left where the factor's exponent is above 0, is within 32 bits.
bool FitsInt32(std::int64_t largest_sum, QuantizedMultiplier factor);
// Whether the fast multiplication holds for such a sum.
bool IsFast(const OutputRange& range, QuantizedMultiplier factor, std::int64_t largest_sum);

// Where rows of the left matrix wait for the columns, two at a time: in words.
constexpr int WorkspaceSize(int depth) { return (depth + 3) / 4 * 4; }

struct RightMatrix {
  const std::int8_t* values;
  const std::int32_t* bias;  // nullptr: none
  int columns;
  int depth;
};
void MatrixProduct(const MatrixProductParameters& parameters, const std::int8_t* left, int rows, const RightMatrix& right,
                   Pair* workspace, std::int8_t* output);

// Images (batches, height, width, channels) under filters (output channels, height, width, channels): products of the filters
// with what they see at each place.
struct Convolution {
  int batches;
  int height;
  int width;
  int channels;
  int filter_height;
  int filter_width;
  // From a value under the filter to the next (dilation), and from a place to the next.
  int step_y;
  int step_x;
  int stride_y;
  int stride_x;
  // Rows above and columns left of the image at the first place, and their value: the input's zero point.
  int top;
  int left;
  std::int8_t padding;
  int output_height;
  int output_width;
};
// In words: a product's, and what is seen at a few places.
int ConvolutionWorkspaceSize(int depth);
void Convolve(const MatrixProductParameters& parameters, const Convolution& convolution, const std::int8_t* input,
              const RightMatrix& filters, Pair* workspace, std::int8_t* output);

// Each channel under a filter of its own, (height, width, channels) together.
int DepthwiseWorkspaceSize(const Convolution& convolution);  // in half-words
void ConvolveDepthwise(const MatrixProductParameters& parameters, const Convolution& convolution, const std::int8_t* input,
                       const std::int8_t* filters, const std::int32_t* bias, std::int16_t* workspace, std::int8_t* output);

// A tensor with values added before and after it along each axis; of a shape filled up with ones from the left.
struct Padding {
  int before[kMaxAxes];
  int size[kMaxAxes];
  int after[kMaxAxes];
};
void Pad(const Padding& padding, std::int8_t value, const std::int8_t* input, std::int8_t* output);

// output (columns, rows) = the transposed of input (rows, columns).
void Transpose(const std::int8_t* input, int rows, int columns, std::int8_t* output);

}  // namespace kser

#endif  // KSER_KERNELS_ARITHMETIC_H_
