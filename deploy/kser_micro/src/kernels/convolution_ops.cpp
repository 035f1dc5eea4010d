// CONV_2D and DEPTHWISE_CONV_2D.
#include "weighted_op.h"

namespace kser {
namespace {

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

template <typename Options, typename Allocator>
TfLiteStatus KeepConvolutionOptions(const Options* options, Allocator* allocator, void** builtin_data) {
  const auto narrow = [](std::int32_t value) { return static_cast<std::int16_t>(value); };
  ConvolutionOptions kept = {ActivationFunctionType_NONE, true, 1, 1, 1, 1};
  if (options != nullptr) {
    kept = {options->fused_activation_function(), options->padding() == Padding_SAME,
            narrow(options->stride_h()),          narrow(options->stride_w()),
            narrow(options->dilation_h_factor()), narrow(options->dilation_w_factor())};
  }
  return KeepOptions(kept, allocator, builtin_data);
}

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseConvolution(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  return KeepConvolutionOptions(op->builtin_options_as_Conv2DOptions(), allocator, builtin_data);
}

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseDepthwise(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  return KeepConvolutionOptions(op->builtin_options_as_DepthwiseConv2DOptions(), allocator, builtin_data);
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
Convolution MakeConvolution(const ConvolutionOptions& options, const int* input, const int* filter, std::int8_t padding) {
  Convolution c = {input[0],       input[1],         input[2],         input[3], filter[1], filter[2], options.step_y,
                   options.step_x, options.stride_y, options.stride_x, 0,        0,         padding,   0,
                   0};
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

// All but the workspace; `convolution` is that of the shapes.
TfLiteStatus PrepareWeighted(TfLiteContext* context, const TfLiteNode* node, const char* name, const WeightedOp& op,
                             Convolution* convolution) {
  const char* const reason = WhyNot(op);
  if (reason != nullptr) return Refuse(name, reason);
  if (op.input.rank != kAxes || op.weights.rank != kAxes || op.output.rank != kAxes) {
    return Refuse(name, "input, weights and output must have four axes.");
  }
  const auto& options = *static_cast<const ConvolutionOptions*>(node->builtin_data);
  const auto zero_point = static_cast<std::int8_t>(op.input.quantization.zero_point);
  *convolution = MakeConvolution(options, op.input.dims, op.weights.dims, zero_point);
  if (!Fits(op, *convolution)) return Refuse(name, "the shapes do not fit.");
  MatrixProductParameters& parameters = static_cast<ConvolutionData*>(node->user_data)->parameters;
  parameters = MakeMatrixProduct(op.input.quantization, {op.weights.quantization.scale, 0}, op.output.quantization,
                                 RangeOf(options.activation, op.output.quantization));
  parameters.SetFactor(
      ColumnFactor(op.input.quantization.scale, op.weights.quantization.scale, op.output.quantization.scale));
  return MakeFactors(context, op, &parameters);
}

TfLiteStatus PrepareConvolution(TfLiteContext* context, TfLiteNode* node) {
  constexpr const char* kName = "CONV_2D";
  const WeightedOp op = DescribeWeightedOp(context, node, 0);
  Convolution convolution;
  const TfLiteStatus status = PrepareWeighted(context, node, kName, op, &convolution);
  if (status != kTfLiteOk) return status;
  if (op.weights.dims[3] != convolution.channels) return Refuse(kName, "groups of channels are not supported.");
  const size_t bytes = ConvolutionWorkspaceSize(op.depth) * sizeof(Pair);
  return context->RequestScratchBufferInArena(context, bytes, &static_cast<ConvolutionData*>(node->user_data)->scratch);
}

TfLiteStatus PrepareDepthwise(TfLiteContext* context, TfLiteNode* node) {
  constexpr const char* kName = "DEPTHWISE_CONV_2D";
  const WeightedOp op = DescribeWeightedOp(context, node, 3);
  Convolution convolution;
  const TfLiteStatus status = PrepareWeighted(context, node, kName, op, &convolution);
  if (status != kTfLiteOk) return status;
  if (op.channels != convolution.channels) return Refuse(kName, "several filters for a channel are not supported.");
  const size_t bytes = DepthwiseWorkspaceSize(convolution) * sizeof(std::int16_t);
  return context->RequestScratchBufferInArena(context, bytes, &static_cast<ConvolutionData*>(node->user_data)->scratch);
}

// What a node knows when it runs.
struct Running {
  Running(TfLiteContext* context, const TfLiteNode* node) : data(*static_cast<const ConvolutionData*>(node->user_data)) {
    int input[kAxes];
    FillUp(tflite::micro::GetEvalInput(context, node, 0), kAxes, input);
    FillUp(tflite::micro::GetEvalInput(context, node, 1), kAxes, weights);
    convolution = MakeConvolution(*static_cast<const ConvolutionOptions*>(node->builtin_data), input, weights,
                                  data.parameters.left_zero_point);
    workspace = context->GetScratchBuffer(context, data.scratch);
  }

  const ConvolutionData& data;
  int weights[kAxes];
  Convolution convolution;
  void* workspace;
};

TfLiteStatus InvokeConvolution(TfLiteContext* context, TfLiteNode* node) {
  const Running run(context, node);
  const RightMatrix filters = {InputData(context, node, 1), OptionalInputData<std::int32_t>(context, node, 2),
                               run.weights[0], run.weights[1] * run.weights[2] * run.weights[3]};
  Convolve(run.data.parameters, run.convolution, InputData(context, node, 0), filters, static_cast<Pair*>(run.workspace),
           OutputData(context, node));
  return kTfLiteOk;
}

TfLiteStatus InvokeDepthwise(TfLiteContext* context, TfLiteNode* node) {
  const Running run(context, node);
  ConvolveDepthwise(run.data.parameters, run.convolution, InputData(context, node, 0), InputData(context, node, 1),
                    OptionalInputData<std::int32_t>(context, node, 2), static_cast<std::int16_t*>(run.workspace),
                    OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kConv2D = {MakeRegistration(BuiltinOperator_CONV_2D, AllocateData<ConvolutionData>, PrepareConvolution,
                                             InvokeConvolution),
                            ParseConvolution};
constexpr Kernel kDepthwiseConv2D = {MakeRegistration(BuiltinOperator_DEPTHWISE_CONV_2D, AllocateData<ConvolutionData>,
                                                      PrepareDepthwise, InvokeDepthwise),
                                     ParseDepthwise};

}  // namespace kser
