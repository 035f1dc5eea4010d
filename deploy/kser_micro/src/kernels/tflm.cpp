#include "tflm.h"

#include <cmath>

namespace kser {
namespace {

TensorInfo InfoOf(const TfLiteTensor* tensor) {
  TensorInfo info{};
  if (tensor == nullptr || tensor->dims == nullptr || tensor->dims->size > kMaxRank) return info;
  info.exists = true;
  info.type = tensor->type;
  info.quantization = {tensor->params.scale, tensor->params.zero_point};
  info.rank = tensor->dims->size;
  for (int axis = 0; axis < info.rank; ++axis) info.dims[axis] = tensor->dims->data[axis];
  info.constant = tensor->data.data;  // memory for computed tensors is planned after nodes are prepared
  const auto* const affine = static_cast<const TfLiteAffineQuantization*>(tensor->quantization.params);
  if (tensor->quantization.type == kTfLiteAffineQuantization && affine != nullptr && affine->scale != nullptr &&
      affine->scale->size > 1) {
    info.scales = affine->scale->data;
    info.num_scales = affine->scale->size;
  }
  return info;
}

TensorInfo TakeInfo(TfLiteContext* context, TfLiteTensor* tensor) {
  const TensorInfo info = InfoOf(tensor);
  if (tensor != nullptr) GetMicroContext(context)->DeallocateTempTfLiteTensor(tensor);
  return info;
}

int Product(const int* dims, int rank) {
  int count = 1;
  for (int axis = 0; axis < rank; ++axis) count *= dims[axis];
  return count;
}

}  // namespace

TensorInfo InputInfo(TfLiteContext* context, const TfLiteNode* node, int index) {
  if (node->inputs == nullptr || index >= node->inputs->size) return {};
  return TakeInfo(context, GetMicroContext(context)->AllocateTempInputTensor(node, index));
}

TensorInfo OutputInfo(TfLiteContext* context, const TfLiteNode* node, int index) {
  if (node->outputs == nullptr || index >= node->outputs->size) return {};
  return TakeInfo(context, GetMicroContext(context)->AllocateTempOutputTensor(node, index));
}

bool AreInt8(const TensorInfo& a, const TensorInfo& b) {
  return a.exists && b.exists && a.type == kTfLiteInt8 && b.type == kTfLiteInt8;
}

int ElementCount(const TensorInfo& tensor) { return Product(tensor.dims, tensor.rank); }
int ElementCount(const TfLiteEvalTensor* tensor) { return Product(tensor->dims->data, tensor->dims->size); }

void FillUp(const int* dims, int rank, int size, int* filled) {
  const int ones = size - rank;
  for (int axis = 0; axis < size; ++axis) filled[axis] = axis < ones ? 1 : dims[axis - ones];
}

void LeaveOut(TfLiteEvalTensor* tensor) {
  // A TfLiteIntArray of one axis without elements.
  alignas(TfLiteIntArray) static const int kNothing[] = {1, 0};
  tensor->dims = reinterpret_cast<TfLiteIntArray*>(const_cast<int*>(kNothing));
}

OutputRange RangeOf(ActivationFunctionType activation, const Quantization& output) {
  const auto quantized = [&](float value) {
    return Clamp(output.zero_point + static_cast<std::int32_t>(std::round(value / output.scale)), kInt8Min, kInt8Max);
  };
  switch (activation) {
    case ActivationFunctionType_RELU:
      return {output.zero_point, quantized(0.0f), kInt8Max};
    case ActivationFunctionType_RELU6:
      return {output.zero_point, quantized(0.0f), quantized(6.0f)};
    case ActivationFunctionType_RELU_N1_TO_1:
      return {output.zero_point, quantized(-1.0f), quantized(1.0f)};
    default:
      return {output.zero_point, kInt8Min, kInt8Max};
  }
}

TfLiteStatus Refuse(const char* op, const char* reason) {
  MicroPrintf("kser's %s: %s", op, reason);
  return kTfLiteError;
}

}  // namespace kser
