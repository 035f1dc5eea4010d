// LOGISTIC, TANH and HARD_SWISH.
#include "graph.h"
#include "registrations.h"
#include "shared_table.h"

namespace kser {
namespace {

// A node's data is its table, none where MUL does its work.
void* Init(TfLiteContext*, const char*, size_t) {
  ForgetTables();
  return nullptr;
}

// Of an op from one int8 tensor to one of the same size.
template <Function kFunction>
TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  static constexpr const char* kNames[] = {"LOGISTIC", "TANH", "HARD_SWISH"};
  const char* const name = kNames[static_cast<int>(kFunction)];
  const TensorInfo input = InputInfo(context, node, 0);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(input, output) || ElementCount(input) != ElementCount(output)) {
    return Refuse(name, "input and output must be int8 tensors of one size.");
  }
  node->user_data = FindOrFillTable(context, kFunction, input.quantization, output.quantization);
  return node->user_data != nullptr ? kTfLiteOk : Refuse(name, "the arena is too small for a table, or a scale for the op.");
}

TfLiteStatus PrepareLogistic(TfLiteContext* context, TfLiteNode* node) {
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!IsSwishGate(node->inputs->data[0], node->outputs->data[0]) || !(output.quantization == kUnitQuantization)) {
    return Prepare<Function::kLogistic>(context, node);
  }
  // MUL takes the values of both ops from a table of its own.
  LeaveOut(tflite::micro::GetEvalOutput(context, node, 0));
  return kTfLiteOk;
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const auto* const table = static_cast<const std::int8_t*>(node->user_data);
  if (table == nullptr) return kTfLiteOk;
  Lookup(table, InputData(context, node, 0), ElementCount(tflite::micro::GetEvalInput(context, node, 0)),
         OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kLogistic = {MakeRegistration(BuiltinOperator_LOGISTIC, Init, PrepareLogistic, Invoke), ParseNothing};
constexpr Kernel kTanh = {MakeRegistration(BuiltinOperator_TANH, Init, Prepare<Function::kTanh>, Invoke), ParseNothing};
constexpr Kernel kHardSwish = {MakeRegistration(BuiltinOperator_HARD_SWISH, Init, Prepare<Function::kHardSwish>, Invoke),
                               ParseNothing};

}  // namespace kser
