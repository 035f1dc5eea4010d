#include "tflm.h"

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
  return info;
}

TensorInfo TakeInfo(TfLiteContext* context, TfLiteTensor* tensor) {
  const TensorInfo info = InfoOf(tensor);
  if (tensor != nullptr) GetMicroContext(context)->DeallocateTempTfLiteTensor(tensor);
  return info;
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

int ElementCount(const TensorInfo& tensor) {
  int count = 1;
  for (int axis = 0; axis < tensor.rank; ++axis) count *= tensor.dims[axis];
  return count;
}

void FillUp(const int* dims, int rank, int size, int* filled) {
  const int ones = size - rank;
  for (int axis = 0; axis < size; ++axis) filled[axis] = axis < ones ? 1 : dims[axis - ones];
}

TfLiteStatus Refuse(const char* op, const char* reason) {
  MicroPrintf("kser's %s: %s", op, reason);
  return kTfLiteError;
}

}  // namespace kser
