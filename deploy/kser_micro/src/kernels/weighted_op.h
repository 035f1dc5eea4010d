// What FULLY_CONNECTED, CONV_2D and DEPTHWISE_CONV_2D have in common: weights for each output channel, and a bias.
#ifndef KSER_KERNELS_WEIGHTED_OP_H_
#define KSER_KERNELS_WEIGHTED_OP_H_

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

// The op's tensors; the weights' channels, along that axis, and how many values each has.
WeightedOp DescribeWeightedOp(TfLiteContext* context, const TfLiteNode* node, int channel_axis);

// What the kernels cannot do about them, nullptr if nothing.
const char* WhyNot(const WeightedOp& op);

// Fills in the factors of single channels, for which it takes memory, and what they or the bias ask for.
TfLiteStatus MakeFactors(TfLiteContext* context, const WeightedOp& op, MatrixProductParameters* parameters);

}  // namespace kser

#endif  // KSER_KERNELS_WEIGHTED_OP_H_
