// LOGISTIC, TANH and HARD_SWISH.
#include "graph.h"
#include "registrations.h"
#include "shared_table.h"

namespace kser {
namespace {

struct LookupData {
  const std::int8_t* table;
  int elements;
};

void* Init(TfLiteContext* context, const char* buffer, size_t length) {
  ForgetTables();
  return AllocateData<LookupData>(context, buffer, length);
}

// Of an op from one int8 tensor to one of the same size.
template <Function kFunction>
TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  static constexpr const char* kNames[] = {"LOGISTIC", "TANH", "HARD_SWISH"};
  const char* const name = kNames[static_cast<int>(kFunction)];
  const TensorInfo input = InputInfo(context, node, 0);
  const TensorInfo output = OutputInfo(context, node, 0);
  const int elements = ElementCount(input);
  if (!AreInt8(input, output) || elements != ElementCount(output)) {
    return Refuse(name, "input and output must be int8 tensors of one size.");
  }
  const std::int8_t* const table = FindOrFillTable(context, kFunction, input.quantization, output.quantization);
  *static_cast<LookupData*>(node->user_data) = {table, elements};
  return table != nullptr ? kTfLiteOk : Refuse(name, "the arena is too small for a table, or a scale for the op.");
}

TfLiteStatus PrepareLogistic(TfLiteContext* context, TfLiteNode* node) {
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!IsSwishGate(node->inputs->data[0], node->outputs->data[0]) || !(output.quantization == kUnitQuantization)) {
    return Prepare<Function::kLogistic>(context, node);
  }
  // MUL takes the values of both ops from a table of its own.
  *static_cast<LookupData*>(node->user_data) = {nullptr, 0};
  LeaveOut(tflite::micro::GetEvalOutput(context, node, 0));
  return kTfLiteOk;
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const LookupData& data = *static_cast<const LookupData*>(node->user_data);
  if (data.table == nullptr) return kTfLiteOk;
  Lookup(data.table, InputData(context, node, 0), data.elements, OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kLogistic = {MakeRegistration(BuiltinOperator_LOGISTIC, Init, PrepareLogistic, Invoke), ParseNothing};
constexpr Kernel kTanh = {MakeRegistration(BuiltinOperator_TANH, Init, Prepare<Function::kTanh>, Invoke), ParseNothing};
constexpr Kernel kHardSwish = {MakeRegistration(BuiltinOperator_HARD_SWISH, Init, Prepare<Function::kHardSwish>, Invoke),
                               ParseNothing};

}  // namespace kser
