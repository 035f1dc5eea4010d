// FULLY_CONNECTED.
#include "weighted_op.h"

namespace kser {
namespace {

constexpr const char* kName = "FULLY_CONNECTED";
constexpr int kWeightAxes = 2;

struct FullyConnectedData {
  MatrixProductParameters parameters;
  int scratch;
};
static_assert(sizeof(void*) > 4 || sizeof(FullyConnectedData) <= 16, "a piece of the arena");

struct DenseOptions {
  ActivationFunctionType activation;
  bool shuffled;
};

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseDenseOptions(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  const auto* const options = op->builtin_options_as_FullyConnectedOptions();
  DenseOptions kept = {ActivationFunctionType_NONE, false};
  if (options != nullptr) {
    kept = {options->fused_activation_function(),
            options->weights_format() != FullyConnectedOptionsWeightsFormat_DEFAULT};
  }
  return KeepOptions(kept, allocator, builtin_data);
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  const WeightedOp op = DescribeWeightedOp(context, node, 0);
  const auto& options = *static_cast<const DenseOptions*>(node->builtin_data);
  const char* const reason = WhyNot(op);
  if (reason != nullptr) return Refuse(kName, reason);
  if (options.shuffled) return Refuse(kName, "shuffled weights are not supported.");
  const int rows = op.depth > 0 ? ElementCount(op.input) / op.depth : 0;
  if (op.weights.rank != kWeightAxes || rows * op.depth != ElementCount(op.input) ||
      rows * op.channels != ElementCount(op.output)) {
    return Refuse(kName, "the shapes do not fit.");
  }
  // With a scale for each channel, TensorFlow Lite takes the weights' zero point for 0.
  const Quantization weights = {op.weights.quantization.scale,
                                op.weights.scales != nullptr ? 0 : op.weights.quantization.zero_point};
  auto* const data = static_cast<FullyConnectedData*>(node->user_data);
  data->parameters = MakeMatrixProduct(op.input.quantization, weights, op.output.quantization,
                                       RangeOf(options.activation, op.output.quantization));
  if (MakeFactors(context, op, &data->parameters) != kTfLiteOk) return kTfLiteError;
  return context->RequestScratchBufferInArena(context, WorkspaceSize(op.depth) * sizeof(Pair), &data->scratch);
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const auto& data = *static_cast<const FullyConnectedData*>(node->user_data);
  int weight_shape[kWeightAxes];
  FillUp(tflite::micro::GetEvalInput(context, node, 1), kWeightAxes, weight_shape);
  const int elements = ElementCount(tflite::micro::GetEvalInput(context, node, 0));
  const RightMatrix weights = {InputData(context, node, 1), OptionalInputData<std::int32_t>(context, node, 2),
                               weight_shape[0], weight_shape[1]};
  MatrixProduct(data.parameters, InputData(context, node, 0), elements / weights.depth, weights,
                static_cast<Pair*>(context->GetScratchBuffer(context, data.scratch)), OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kFullyConnected = {
    MakeRegistration(BuiltinOperator_FULLY_CONNECTED, AllocateData<FullyConnectedData>, Prepare, Invoke), ParseDenseOptions};

}  // namespace kser
