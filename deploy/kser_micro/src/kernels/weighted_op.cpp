#include "weighted_op.h"

#include <limits>

namespace kser {
namespace {

std::int64_t LargestOf(const TensorInfo& bias) {
  if (!bias.exists) return 0;
  if (bias.constant == nullptr) return std::numeric_limits<std::int32_t>::max();
  const auto* const values = static_cast<const std::int32_t*>(bias.constant);
  std::int64_t largest = 0;
  for (int i = 0; i < ElementCount(bias); ++i) {
    const std::int64_t value = values[i];
    const std::int64_t magnitude = value < 0 ? -value : value;
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}

}  // namespace

WeightedOp DescribeWeightedOp(TfLiteContext* context, const TfLiteNode* node, int channel_axis) {
  WeightedOp op = {InputInfo(context, node, 0), InputInfo(context, node, 1), InputInfo(context, node, 2),
                   OutputInfo(context, node, 0), 0, 0};
  if (op.weights.rank <= channel_axis) return op;
  op.channels = op.weights.dims[channel_axis];
  op.depth = op.channels > 0 ? ElementCount(op.weights) / op.channels : 0;
  return op;
}

const char* WhyNot(const WeightedOp& op) {
  if (!AreInt8(op.input, op.weights) || !AreInt8(op.input, op.output)) return "input, weights and output must be int8 tensors.";
  if (op.bias.exists && (op.bias.type != kTfLiteInt32 || ElementCount(op.bias) != op.channels)) {
    return "the bias must be an int32 for each output channel.";
  }
  if (op.weights.scales != nullptr && op.weights.num_scales != op.channels) {
    return "weights must have one scale, or one for each output channel.";
  }
  return nullptr;
}

TfLiteStatus MakeFactors(TfLiteContext* context, const WeightedOp& op, MatrixProductParameters* parameters) {
  const std::int64_t largest_sum = LargestSum(op.depth, LargestOf(op.bias));
  parameters->exact = !IsFast(parameters->range, parameters->FactorOf(0), largest_sum);
  if (op.weights.scales == nullptr) return kTfLiteOk;
  const size_t bytes = op.channels * sizeof(QuantizedMultiplier);
  auto* const factors = static_cast<QuantizedMultiplier*>(context->AllocatePersistentBuffer(context, bytes));
  if (factors == nullptr) return kTfLiteError;
  parameters->factors = factors;
  parameters->each_its_own = true;
  parameters->exact = false;
  for (int channel = 0; channel < op.channels; ++channel) {
    factors[channel] =
        ColumnFactor(op.input.quantization.scale, op.weights.scales[channel], op.output.quantization.scale);
    if (!IsFast(parameters->range, factors[channel], largest_sum)) parameters->exact = true;
  }
  return kTfLiteOk;
}

}  // namespace kser
