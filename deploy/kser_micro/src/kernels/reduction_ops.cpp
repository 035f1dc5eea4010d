// L2_NORMALIZATION and MEAN.
#include "arithmetic.h"
#include "registrations.h"

namespace kser {
namespace {

TfLiteStatus PrepareNormalization(TfLiteContext* context, TfLiteNode* node) {
  constexpr const char* kName = "L2_NORMALIZATION";
  const TensorInfo input = InputInfo(context, node, 0);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(input, output) || input.rank < 1 || ElementCount(input) != ElementCount(output)) {
    return Refuse(kName, "input and output must be int8 tensors of one size.");
  }
  if (!(output.quantization == Quantization{1.0f / 128.0f, 0})) {
    return Refuse(kName, "the output's scale must be 1/128 and its zero point 0.");
  }
  SetByte(node, input.quantization.zero_point);
  return kTfLiteOk;
}

TfLiteStatus InvokeNormalization(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteEvalTensor* const input = tflite::micro::GetEvalInput(context, node, 0);
  const int depth = input->dims->data[input->dims->size - 1];
  const int rows = depth > 0 ? ElementCount(input) / depth : 0;
  L2Normalize(ByteOf(node), InputData(context, node, 0), rows, depth, OutputData(context, node));
  return kTfLiteOk;
}

struct MeanData {
  MeanParameters parameters;
  int outer;
  int count;
  int inner;
};

// Marks the axes to reduce; false if one does not exist.
bool MarkAxes(const TensorInfo& input, const TensorInfo& axes, bool* reduced) {
  const auto* const values = static_cast<const std::int32_t*>(axes.constant);
  for (int i = 0; i < ElementCount(axes); ++i) {
    const int axis = values[i] < 0 ? values[i] + input.rank : values[i];
    if (axis < 0 || axis >= input.rank) return false;
    reduced[axis] = true;
  }
  return true;
}

// The shape as three axes of which the middle one is reduced; false if the reduced ones are not neighbours.
bool MakeThreeAxes(const TensorInfo& input, const bool* reduced, MeanData* data) {
  data->outer = data->count = data->inner = 1;
  bool seen = false;
  bool done = false;
  for (int axis = 0; axis < input.rank; ++axis) {
    const int size = input.dims[axis];
    if (reduced[axis]) {
      if (done && size != 1) return false;
      seen = true;
      data->count *= size;
    } else if (size != 1) {
      done = seen && data->count != 1;
      (done ? data->inner : data->outer) *= size;
    }
  }
  return data->count > 0;
}

TfLiteStatus PrepareMean(TfLiteContext* context, TfLiteNode* node) {
  constexpr const char* kName = "MEAN";
  const TensorInfo input = InputInfo(context, node, 0);
  const TensorInfo axes = InputInfo(context, node, 1);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(input, output)) return Refuse(kName, "input and output must be int8 tensors.");
  if (!axes.exists || axes.type != kTfLiteInt32 || axes.constant == nullptr) {
    return Refuse(kName, "the axes must be int32 constants.");
  }
  bool reduced[kMaxRank] = {};
  MeanData* const data = static_cast<MeanData*>(node->user_data);
  if (!MarkAxes(input, axes, reduced)) return Refuse(kName, "there is no such axis.");
  if (!MakeThreeAxes(input, reduced, data)) return Refuse(kName, "the axes must be neighbours.");
  if (data->outer * data->inner != ElementCount(output)) return Refuse(kName, "the output has another size.");
  return MakeMean(input.quantization, output.quantization, data->count, &data->parameters)
             ? kTfLiteOk
             : Refuse(kName, "the output's scale is too small for the input's.");
}

TfLiteStatus InvokeMean(TfLiteContext* context, TfLiteNode* node) {
  const MeanData& data = *static_cast<const MeanData*>(node->user_data);
  Mean(data.parameters, InputData(context, node, 0), data.outer, data.count, data.inner, OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kL2Normalization = {MakeRegistration(BuiltinOperator_L2_NORMALIZATION, nullptr, PrepareNormalization, InvokeNormalization),
                                    ParseNothing};
constexpr Kernel kMean = {MakeRegistration(BuiltinOperator_MEAN, AllocateData<MeanData>, PrepareMean, InvokeMean),
                         ParseNothing};

}  // namespace kser
