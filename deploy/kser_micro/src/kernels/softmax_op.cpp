// SOFTMAX.
#include "registrations.h"

namespace kser {
namespace {

constexpr const char* kName = "SOFTMAX";

// The table of exponentials is filled anew each time: kept for every node it would be much of a small network's arena.
struct SoftmaxData {
  float scale;
  int rows;
  int depth;
  int scratch;
};

struct SoftmaxOptions {
  float beta;
};

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseSoftmaxOptions(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  const auto* const options = op->builtin_options_as_SoftmaxOptions();
  return KeepOptions(SoftmaxOptions{options != nullptr ? options->beta() : 1.0f}, allocator, builtin_data);
}

float BetaOf(const TfLiteNode* node) { return static_cast<const SoftmaxOptions*>(node->builtin_data)->beta; }

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  const TensorInfo input = InputInfo(context, node, 0);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(input, output) || input.rank < 1 || ElementCount(input) != ElementCount(output)) {
    return Refuse(kName, "input and output must be int8 tensors of one size.");
  }
  if (!(output.quantization == kUnitQuantization)) {
    return Refuse(kName, "the output's scale must be 1/256 and its zero point -128.");
  }
  // The zero point cancels in the distance to the largest of a row.
  const float scale = input.quantization.scale;
  if (!HasExponentials(scale, BetaOf(node))) return Refuse(kName, "the input's scale is too small.");
  const int depth = input.dims[input.rank - 1];
  auto* const data = static_cast<SoftmaxData*>(node->user_data);
  *data = {scale, depth > 0 ? ElementCount(input) / depth : 0, depth, 0};
  return context->RequestScratchBufferInArena(context, kTableSize * sizeof(std::int32_t), &data->scratch);
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const SoftmaxData& data = *static_cast<const SoftmaxData*>(node->user_data);
  auto* const exponentials = static_cast<std::int32_t*>(context->GetScratchBuffer(context, data.scratch));
  FillExponentials(data.scale, BetaOf(node), exponentials);
  Softmax(exponentials, InputData(context, node, 0), data.rows, data.depth, OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kSoftmax = {MakeRegistration(BuiltinOperator_SOFTMAX, AllocateData<SoftmaxData>, Prepare, Invoke),
                             ParseSoftmaxOptions};

}  // namespace kser
