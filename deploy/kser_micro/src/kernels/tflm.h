// What the kernels use of TensorFlow Lite Micro, the same for all its versions since 2022.
//
// Between them the registration changed its name (TfLiteRegistration, TFLMRegistration), parsers theirs, and headers and
// names moved into tflite::micro: so types are taken from MicroOpResolver's own functions, and names looked up in both
// namespaces.
#ifndef KSER_KERNELS_TFLM_H_
#define KSER_KERNELS_TFLM_H_

#include <type_traits>
#include <utility>

#include "arithmetic.h"
#include "tensorflow/lite/micro/kernels/kernel_util.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace kser {

using namespace tflite;
using namespace tflite::micro;

using RegistrationPointer = decltype(std::declval<const tflite::MicroOpResolver&>().FindOp(std::declval<const char*>()));
using Registration = std::remove_const_t<std::remove_pointer_t<RegistrationPointer>>;
using Parser = decltype(std::declval<const tflite::MicroOpResolver&>().GetOpDataParser(tflite::BuiltinOperator()));

using InitFunction = void* (*)(TfLiteContext*, const char*, size_t);
using NodeFunction = TfLiteStatus (*)(TfLiteContext*, TfLiteNode*);

// The op's code tells TensorFlow Lite Micro which parser to ask for.
constexpr Registration MakeRegistration(BuiltinOperator op, InitFunction init, NodeFunction prepare, NodeFunction invoke) {
  Registration registration{};
  registration.builtin_code = op;
  registration.init = init;
  registration.prepare = prepare;
  registration.invoke = invoke;
  return registration;
}

constexpr int kMaxRank = 6;

// What is known of a tensor while nodes are prepared.
struct TensorInfo {
  bool exists;
  TfLiteType type;
  Quantization quantization;
  int rank;
  int dims[kMaxRank];
  const void* constant;  // the values, if they are in the model
  // Of each channel, in the model; nullptr where the whole tensor has one scale.
  const float* scales;
  int num_scales;
};
TensorInfo InputInfo(TfLiteContext* context, const TfLiteNode* node, int index);
TensorInfo OutputInfo(TfLiteContext* context, const TfLiteNode* node, int index);

// Both are int8 tensors of at most kMaxRank axes.
bool AreInt8(const TensorInfo& a, const TensorInfo& b);
int ElementCount(const TensorInfo& tensor);
int ElementCount(const TfLiteEvalTensor* tensor);

// A shape of `rank` axes filled up with ones from the left, to `size` axes.
void FillUp(const int* dims, int rank, int size, int* filled);

// Of a tensor while nodes are run: as cheap as that is then, it takes less memory than to keep what follows from shapes.
inline void FillUp(const TfLiteEvalTensor* tensor, int size, int* filled) {
  FillUp(tensor->dims->data, tensor->dims->size, size, filled);
}

// The values of an activation fused into an op, quantized.
OutputRange RangeOf(ActivationFunctionType activation, const Quantization& output);

// Takes no memory for a tensor that nobody writes or reads; while nodes are prepared.
void LeaveOut(TfLiteEvalTensor* tensor);

// Says what a kernel cannot do. Returns kTfLiteError.
TfLiteStatus Refuse(const char* op, const char* reason);

template <typename Data>
void* AllocateData(TfLiteContext* context, const char*, size_t) {
  return context->AllocatePersistentBuffer(context, sizeof(Data));
}

// nullptr where an optional input is left out.
template <typename Value = std::int8_t>
const Value* OptionalInputData(const TfLiteContext* context, const TfLiteNode* node, int index) {
  if (index >= node->inputs->size || node->inputs->data[index] < 0) return nullptr;
  return tflite::micro::GetTensorData<Value>(tflite::micro::GetEvalInput(context, node, index));
}

// A node's data that is a byte: kept in place of the pointer to it.
inline void SetByte(TfLiteNode* node, std::int32_t byte) { node->user_data = reinterpret_cast<void*>(std::intptr_t{byte}); }
inline std::int8_t ByteOf(const TfLiteNode* node) {
  return static_cast<std::int8_t>(reinterpret_cast<std::intptr_t>(node->user_data));
}

inline const std::int8_t* InputData(const TfLiteContext* context, const TfLiteNode* node, int index) {
  return tflite::micro::GetTensorData<std::int8_t>(tflite::micro::GetEvalInput(context, node, index));
}

inline std::int8_t* OutputData(const TfLiteContext* context, const TfLiteNode* node) {
  return tflite::micro::GetTensorData<std::int8_t>(tflite::micro::GetEvalOutput(context, node, 0));
}

}  // namespace kser

#endif  // KSER_KERNELS_TFLM_H_
