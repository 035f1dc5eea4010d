// LOGISTIC, TANH, HARD_SWISH and SOFTMAX: tables filled when a model is loaded and shared by nodes that need the same.
#include "arithmetic.h"
#include "registrations.h"

namespace kser {
namespace {

enum class Function { kLogistic, kTanh, kHardSwish, kExponential };

// A table in the arena and what it was filled for.
struct SharedTable {
  Function function;
  Quantization input;
  Quantization output;
  float beta;
  void* values;
  const SharedTable* next;
};

// The tables of the model that is being loaded. TensorFlow Lite Micro initializes all nodes of a model before it prepares
// the first one, so whatever is here when a node is initialized belongs to another interpreter's arena. Two interpreters
// must not allocate their tensors at the same time.
const SharedTable* tables = nullptr;

struct TableData {
  const void* table;
  int rows;
  int depth;
};

void* Init(TfLiteContext* context, const char* buffer, size_t length) {
  tables = nullptr;
  return AllocateData<TableData>(context, buffer, length);
}

bool NeedSame(const SharedTable& a, const SharedTable& b) {
  return a.function == b.function && a.input == b.input && a.output == b.output && a.beta == b.beta;
}

size_t BytesOf(Function function) {
  return kTableSize * (function == Function::kExponential ? sizeof(std::int32_t) : sizeof(std::int8_t));
}

bool Fill(const SharedTable& table) {
  std::int8_t* const bytes = static_cast<std::int8_t*>(table.values);
  switch (table.function) {
    case Function::kLogistic:
      FillLogistic(table.input, bytes);
      return true;
    case Function::kTanh:
      FillTanh(table.input, bytes);
      return true;
    case Function::kHardSwish:
      return FillHardSwish(table.input, table.output, bytes);
    case Function::kExponential:
      return FillExponentials(table.input.scale, table.beta, static_cast<std::int32_t*>(table.values));
  }
  return false;
}

// nullptr if the arena is too small or the scales are not for the function.
const void* FindOrFill(TfLiteContext* context, const SharedTable& wanted) {
  for (const SharedTable* table = tables; table != nullptr; table = table->next) {
    if (NeedSame(*table, wanted)) return table->values;
  }
  void* const place = context->AllocatePersistentBuffer(context, sizeof(SharedTable));
  void* const values = context->AllocatePersistentBuffer(context, BytesOf(wanted.function));
  if (place == nullptr || values == nullptr) return nullptr;
  SharedTable* const table = static_cast<SharedTable*>(place);
  *table = wanted;
  table->values = values;
  table->next = tables;
  if (!Fill(*table)) return nullptr;
  tables = table;
  return values;
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node, const char* op, const SharedTable& wanted, int elements,
                     int depth) {
  TableData* const data = static_cast<TableData*>(node->user_data);
  data->table = FindOrFill(context, wanted);
  data->depth = depth;
  data->rows = depth > 0 ? elements / depth : 0;
  return data->table != nullptr ? kTfLiteOk : Refuse(op, "the arena is too small for a table, or a scale for the op.");
}

// Of an op from one int8 tensor to one of the same size. What a table depends on beside the input's scale differs.
template <Function kFunction>
TfLiteStatus PrepareLookup(TfLiteContext* context, TfLiteNode* node) {
  static constexpr const char* kNames[] = {"LOGISTIC", "TANH", "HARD_SWISH"};
  const char* const name = kNames[static_cast<int>(kFunction)];
  const TensorInfo input = InputInfo(context, node, 0);
  const TensorInfo output = OutputInfo(context, node, 0);
  const int elements = ElementCount(input);
  if (!AreInt8(input, output) || elements != ElementCount(output)) {
    return Refuse(name, "input and output must be int8 tensors of one size.");
  }
  const Quantization of_output = kFunction == Function::kHardSwish ? output.quantization : Quantization{0.0f, 0};
  const SharedTable wanted = {kFunction, input.quantization, of_output, 0.0f, nullptr, nullptr};
  return Prepare(context, node, name, wanted, elements, elements);
}

TfLiteStatus InvokeLookup(TfLiteContext* context, TfLiteNode* node) {
  const TableData& data = *static_cast<const TableData*>(node->user_data);
  Lookup(static_cast<const std::int8_t*>(data.table), InputData(context, node, 0), data.depth, OutputData(context, node));
  return kTfLiteOk;
}

struct SoftmaxOptions {
  float beta;
};

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseSoftmaxOptions(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  const auto* const options = op->builtin_options_as_SoftmaxOptions();
  return KeepOptions(SoftmaxOptions{options != nullptr ? options->beta() : 1.0f}, allocator, builtin_data);
}

TfLiteStatus PrepareSoftmax(TfLiteContext* context, TfLiteNode* node) {
  const TensorInfo input = InputInfo(context, node, 0);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(input, output) || input.rank < 1 || ElementCount(input) != ElementCount(output)) {
    return Refuse("SOFTMAX", "input and output must be int8 tensors of one size.");
  }
  if (!(output.quantization == Quantization{1.0f / 256.0f, kInt8Min})) {
    return Refuse("SOFTMAX", "the output's scale must be 1/256 and its zero point -128.");
  }
  const float beta = static_cast<const SoftmaxOptions*>(node->builtin_data)->beta;
  // The zero point cancels in the distance to the largest of a row.
  const SharedTable wanted = {Function::kExponential, {input.quantization.scale, 0}, {0.0f, 0}, beta, nullptr, nullptr};
  return Prepare(context, node, "SOFTMAX", wanted, ElementCount(input), input.dims[input.rank - 1]);
}

TfLiteStatus InvokeSoftmax(TfLiteContext* context, TfLiteNode* node) {
  const TableData& data = *static_cast<const TableData*>(node->user_data);
  Softmax(static_cast<const std::int32_t*>(data.table), InputData(context, node, 0), data.rows, data.depth,
          OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kLogistic = {
    MakeRegistration(BuiltinOperator_LOGISTIC, Init, PrepareLookup<Function::kLogistic>, InvokeLookup), ParseNothing};
constexpr Kernel kTanh = {MakeRegistration(BuiltinOperator_TANH, Init, PrepareLookup<Function::kTanh>, InvokeLookup),
                          ParseNothing};
constexpr Kernel kHardSwish = {
    MakeRegistration(BuiltinOperator_HARD_SWISH, Init, PrepareLookup<Function::kHardSwish>, InvokeLookup), ParseNothing};
constexpr Kernel kSoftmax = {MakeRegistration(BuiltinOperator_SOFTMAX, Init, PrepareSoftmax, InvokeSoftmax),
                             ParseSoftmaxOptions};

}  // namespace kser
