// PAD.
#include "registrations.h"

namespace kser {
namespace {

constexpr const char* kName = "PAD";

// Of a shape filled up from the left and the op's pairs of int32, one for each of its `rank` axes.
Padding MakePadding(const int* shape, const std::int32_t* pairs, int rank) {
  Padding padding = {};
  for (int axis = 0; axis < kMaxAxes; ++axis) padding.size[axis] = shape[axis];
  for (int i = 0; i < rank; ++i) {
    const int axis = kMaxAxes - rank + i;
    padding.before[axis] = pairs[2 * i];
    padding.after[axis] = pairs[2 * i + 1];
  }
  return padding;
}

bool Fits(const Padding& p, const TensorInfo& output) {
  int shape[kMaxAxes];
  FillUp(output.dims, output.rank, kMaxAxes, shape);
  for (int axis = 0; axis < kMaxAxes; ++axis) {
    if (p.before[axis] < 0 || p.after[axis] < 0) return false;
    if (p.before[axis] + p.size[axis] + p.after[axis] != shape[axis]) return false;
  }
  return true;
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  const TensorInfo input = InputInfo(context, node, 0);
  const TensorInfo pairs = InputInfo(context, node, 1);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(input, output)) return Refuse(kName, "input and output must be int8 tensors.");
  if (!pairs.exists || pairs.type != kTfLiteInt32 || pairs.constant == nullptr || ElementCount(pairs) != 2 * input.rank) {
    return Refuse(kName, "the padding must be int32 constants, two for each axis.");
  }
  int shape[kMaxAxes];
  FillUp(input.dims, input.rank, kMaxAxes, shape);
  if (!Fits(MakePadding(shape, static_cast<const std::int32_t*>(pairs.constant), input.rank), output)) {
    return Refuse(kName, "the shapes do not fit.");
  }
  SetByte(node, output.quantization.zero_point);
  return kTfLiteOk;
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteEvalTensor* const input = tflite::micro::GetEvalInput(context, node, 0);
  int shape[kMaxAxes];
  FillUp(input, kMaxAxes, shape);
  const auto* const pairs = OptionalInputData<std::int32_t>(context, node, 1);
  Pad(MakePadding(shape, pairs, input->dims->size), ByteOf(node), InputData(context, node, 0), OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kPad = {MakeRegistration(BuiltinOperator_PAD, nullptr, Prepare, Invoke), ParseNothing};

}  // namespace kser
