#include "graph.h"

#include "switches.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace kser {
namespace {

constexpr bool kHasSwish = KSER_KERNEL_LOGISTIC && KSER_KERNEL_MUL;

// See SetGraph. Two interpreters must not allocate their tensors at the same time.
const unsigned char* graph = nullptr;

using Indices = flatbuffers::Vector<std::int32_t>;

int CountOf(const Indices* indices, int tensor) {
  int count = 0;
  for (unsigned int i = 0; indices != nullptr && i < indices->size(); ++i) count += indices->Get(i) == tensor ? 1 : 0;
  return count;
}

bool Is(const tflite::Model& model, const tflite::Operator& node, tflite::BuiltinOperator op) {
  const tflite::OperatorCode* const code = model.operator_codes()->Get(node.opcode_index());
  return code->builtin_code() == op || static_cast<int>(code->deprecated_builtin_code()) == op;
}

bool IsPlainMul(const tflite::Model& model, const tflite::Operator& node) {
  const auto* const options = node.builtin_options_as_MulOptions();
  return Is(model, node, tflite::BuiltinOperator_MUL) && node.inputs()->size() == 2 &&
         (options == nullptr || options->fused_activation_function() == tflite::ActivationFunctionType_NONE);
}

bool IsSwishGate(const tflite::Model& model, const tflite::SubGraph& nodes, int value, int gate) {
  if (value == gate || CountOf(nodes.outputs(), gate) > 0) return false;
  int readers = 0;
  bool is_logistic = false;
  bool is_multiplied = false;
  for (const tflite::Operator* node : *nodes.operators()) {
    const int reads = CountOf(node->inputs(), gate);
    readers += reads;
    if (reads == 1) is_multiplied = IsPlainMul(model, *node) && CountOf(node->inputs(), value) == 1;
    if (CountOf(node->outputs(), gate) > 0) {
      is_logistic = Is(model, *node, tflite::BuiltinOperator_LOGISTIC) && CountOf(node->inputs(), value) == 1;
    }
  }
  return is_logistic && is_multiplied && readers == 1;
}

}  // namespace

void SetGraph(const unsigned char* model) { graph = model; }

bool IsSwishGate(int value, int gate) {
  if (!kHasSwish || graph == nullptr) return false;
  const tflite::Model& model = *tflite::GetModel(graph);
  return model.subgraphs()->size() == 1 && IsSwishGate(model, *model.subgraphs()->Get(0), value, gate);
}

}  // namespace kser
