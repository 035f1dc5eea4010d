// CONV_2D.
#include "matrix_ops.h"

namespace kser {
namespace {

constexpr const char* kName = "CONV_2D";
constexpr int kAxes = 4;

struct ConvolutionData {
  MatrixProductParameters parameters;
  int scratch;
};
static_assert(sizeof(void*) > 4 || sizeof(ConvolutionData) <= 16, "a piece of the arena");

struct ConvolutionOptions {
  ActivationFunctionType activation;
  bool same;
  std::int16_t stride_y;
  std::int16_t stride_x;
  std::int16_t step_y;
  std::int16_t step_x;
};

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseConvolutionOptions(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  const auto* const options = op->builtin_options_as_Conv2DOptions();
  if (options == nullptr) return Refuse(kName, "the options are missing.");
  const auto narrow = [](std::int32_t value) { return static_cast<std::int16_t>(value); };
  const ConvolutionOptions kept = {options->fused_activation_function(),   options->padding() == Padding_SAME,
                                   narrow(options->stride_h()),            narrow(options->stride_w()),
                                   narrow(options->dilation_h_factor()),   narrow(options->dilation_w_factor())};
  return KeepOptions(kept, allocator, builtin_data);
}

// What is missing of the input under the filter at all places, half of it before the first value.
int PaddingBefore(int input, int filter, int step, int stride, int output) {
  const int missing = (output - 1) * stride + (filter - 1) * step + 1 - input;
  return missing > 0 ? missing / 2 : 0;
}

int OutputSize(int input, int filter, int step, int stride, bool same) {
  return ((same ? input : input - (filter - 1) * step) + stride - 1) / stride;
}

// Of shapes of four axes each.
Convolution MakeConvolution(const ConvolutionOptions& options, const int* input, const int* filter) {
  Convolution c = {input[0], input[1], input[2], input[3], filter[1], filter[2], options.step_y, options.step_x,
                   options.stride_y, options.stride_x, 0, 0, 0, 0, 0};
  c.output_height = OutputSize(c.height, c.filter_height, c.step_y, c.stride_y, options.same);
  c.output_width = OutputSize(c.width, c.filter_width, c.step_x, c.stride_x, options.same);
  if (options.same) {
    c.top = PaddingBefore(c.height, c.filter_height, c.step_y, c.stride_y, c.output_height);
    c.left = PaddingBefore(c.width, c.filter_width, c.step_x, c.stride_x, c.output_width);
  }
  return c;
}

bool Fits(const WeightedOp& op, const Convolution& c) {
  const int* const output = op.output.dims;
  return output[0] == c.batches && output[1] == c.output_height && output[2] == c.output_width && output[3] == op.channels;
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  const WeightedOp op = DescribeWeightedOp(context, node);
  const auto& options = *static_cast<const ConvolutionOptions*>(node->builtin_data);
  const char* const reason = WhyNot(op);
  if (reason != nullptr) return Refuse(kName, reason);
  if (op.input.rank != kAxes || op.weights.rank != kAxes || op.output.rank != kAxes ||
      !Fits(op, MakeConvolution(options, op.input.dims, op.weights.dims))) {
    return Refuse(kName, "the shapes do not fit.");
  }
  if (op.input.dims[3] != op.weights.dims[3]) return Refuse(kName, "groups of channels are not supported.");
  auto* const data = static_cast<ConvolutionData*>(node->user_data);
  const Quantization weights = {op.weights.quantization.scale, 0};
  data->parameters = MakeMatrixProduct(op.input.quantization, weights, op.output.quantization,
                                       RangeOf(options.activation, op.output.quantization));
  data->parameters.SetFactor(
      ColumnFactor(op.input.quantization.scale, weights.scale, op.output.quantization.scale));
  if (MakeFactors(context, op, &data->parameters) != kTfLiteOk) return kTfLiteError;
  const size_t bytes = ConvolutionWorkspaceSize(op.depth) * sizeof(Pair);
  return context->RequestScratchBufferInArena(context, bytes, &data->scratch);
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const auto& data = *static_cast<const ConvolutionData*>(node->user_data);
  int input[kAxes];
  int filter[kAxes];
  FillUp(tflite::micro::GetEvalInput(context, node, 0), kAxes, input);
  FillUp(tflite::micro::GetEvalInput(context, node, 1), kAxes, filter);
  Convolution convolution = MakeConvolution(*static_cast<const ConvolutionOptions*>(node->builtin_data), input, filter);
  convolution.padding = data.parameters.left_zero_point;
  const RightMatrix filters = {InputData(context, node, 1), OptionalInputData<std::int32_t>(context, node, 2), filter[0],
                               filter[1] * filter[2] * filter[3]};
  Convolve(data.parameters, convolution, InputData(context, node, 0), filters,
           static_cast<Pair*>(context->GetScratchBuffer(context, data.scratch)), OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kConv2D = {
    MakeRegistration(BuiltinOperator_CONV_2D, AllocateData<ConvolutionData>, Prepare, Invoke), ParseConvolutionOptions};

}  // namespace kser
