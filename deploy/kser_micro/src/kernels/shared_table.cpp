#include "shared_table.h"

namespace kser {
namespace {

struct SharedTable {
  SharedTable* next;
  float input_scale;
  float output_scale;
  std::int8_t input_zero_point;
  std::int8_t output_zero_point;
  Function function;
  std::int8_t values[kTableSize];
};

// The tables of the model that is being loaded. TensorFlow Lite Micro initializes all nodes of a model before it prepares
// the first one, so whatever is here when a node is initialized belongs to another interpreter's arena. Two interpreters
// must not allocate their tensors at the same time.
SharedTable* tables = nullptr;

bool IsOf(const SharedTable& table, Function function, const Quantization& input, const Quantization& output) {
  return table.function == function && table.input_scale == input.scale && table.input_zero_point == input.zero_point &&
         table.output_scale == output.scale && table.output_zero_point == output.zero_point;
}

bool Fill(Function function, const Quantization& input, const Quantization& output, std::int8_t* values) {
  switch (function) {
    case Function::kLogistic:
      FillLogistic(input, values);
      return true;
    case Function::kTanh:
      FillTanh(input, values);
      return true;
    case Function::kHardSwish:
      return FillHardSwish(input, output, values);
    case Function::kSwish:
      return FillSwish(input, output, values);
  }
  return false;
}

}  // namespace

void ForgetTables() { tables = nullptr; }

std::int8_t* FindOrFillTable(TfLiteContext* context, Function function, const Quantization& input,
                             const Quantization& output) {
  for (SharedTable* table = tables; table != nullptr; table = table->next) {
    if (IsOf(*table, function, input, output)) return table->values;
  }
  auto* const table = static_cast<SharedTable*>(context->AllocatePersistentBuffer(context, sizeof(SharedTable)));
  if (table == nullptr || !Fill(function, input, output, table->values)) return nullptr;
  table->next = tables;
  table->input_scale = input.scale;
  table->output_scale = output.scale;
  table->input_zero_point = static_cast<std::int8_t>(input.zero_point);
  table->output_zero_point = static_cast<std::int8_t>(output.zero_point);
  table->function = function;
  tables = table;
  return table->values;
}

}  // namespace kser
