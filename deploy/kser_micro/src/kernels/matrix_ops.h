// What FULLY_CONNECTED and CONV_2D have in common: a matrix of weights, a row of them for each output channel, and a bias.
#ifndef KSER_KERNELS_MATRIX_OPS_H_
#define KSER_KERNELS_MATRIX_OPS_H_

#include "registrations.h"

namespace kser {

struct WeightedOp {
  TensorInfo input;
  TensorInfo weights;
  TensorInfo bias;
  TensorInfo output;
  int channels;
  int depth;
};

// The op's tensors; channels and depth of the weights.
WeightedOp DescribeWeightedOp(TfLiteContext* context, const TfLiteNode* node);

// What the kernels cannot do about them, nullptr if nothing.
const char* WhyNot(const WeightedOp& op);

// Fills in the factors of single channels, for which it takes memory, and what they or the bias ask for.
TfLiteStatus MakeFactors(TfLiteContext* context, const WeightedOp& op, MatrixProductParameters* parameters);

}  // namespace kser

#endif  // KSER_KERNELS_MATRIX_OPS_H_
