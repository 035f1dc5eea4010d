// ADD, SUB and MUL.
#include "graph.h"
#include "registrations.h"
#include "shared_table.h"

namespace kser {
namespace {

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseAddOptions(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  return KeepActivation(op->builtin_options_as_AddOptions(), allocator, builtin_data);
}

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseSubOptions(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  return KeepActivation(op->builtin_options_as_SubOptions(), allocator, builtin_data);
}

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseMulOptions(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  return KeepActivation(op->builtin_options_as_MulOptions(), allocator, builtin_data);
}

bool MakeParameters(SumKind kind, const Quantization& a, const Quantization& b, const Quantization& output,
                    const OutputRange& range, SumParameters* parameters) {
  return MakeSum(kind, a, b, output, range, parameters);
}

bool MakeParameters(int, const Quantization& a, const Quantization& b, const Quantization& output,
                    const OutputRange& range, ProductParameters* parameters) {
  return MakeProduct(a, b, output, range, parameters);
}

void Compute(const SumParameters& parameters, const Broadcast& broadcast, const std::int8_t* a, const std::int8_t* b,
             std::int8_t* output) {
  Sum(parameters, broadcast, a, b, output);
}

void Compute(const ProductParameters& parameters, const Broadcast& broadcast, const std::int8_t* a,
             const std::int8_t* b, std::int8_t* output) {
  Product(parameters, broadcast, a, b, output);
}

bool FitsOutput(const TensorInfo& a, const TensorInfo& b, const TensorInfo& output) {
  int shape_a[kMaxAxes];
  int shape_b[kMaxAxes];
  FillUp(a.dims, a.rank, kMaxAxes, shape_a);
  FillUp(b.dims, b.rank, kMaxAxes, shape_b);
  Broadcast broadcast;
  return MakeBroadcast(shape_a, shape_b, &broadcast) && broadcast.Elements() == ElementCount(output);
}

template <typename Parameters, typename Kind>
TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node, const char* name, Kind kind) {
  const TensorInfo a = InputInfo(context, node, 0);
  const TensorInfo b = InputInfo(context, node, 1);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(a, b) || !AreInt8(a, output)) return Refuse(name, "inputs and output must be int8 tensors.");
  if (!FitsOutput(a, b, output)) return Refuse(name, "the shapes do not broadcast to the output's.");
  const auto& options = *static_cast<const ActivationOption*>(node->builtin_data);
  const OutputRange range = RangeOf(options.activation, output.quantization);
  auto* const parameters = static_cast<Parameters*>(node->user_data);
  return MakeParameters(kind, a.quantization, b.quantization, output.quantization, range, parameters)
             ? kTfLiteOk
             : Refuse(name, "the output's scale is too small for those of the inputs.");
}

// MUL, or with a table the function of one input that it and the LOGISTIC before it are.
struct MulData {
  ProductParameters parameters;
  const std::int8_t* swish;
};
static_assert(sizeof(void*) > 4 || sizeof(MulData) <= 16, "a piece of the arena");

template <typename Parameters>
TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  int shape_a[kMaxAxes];
  int shape_b[kMaxAxes];
  FillUp(tflite::micro::GetEvalInput(context, node, 0), kMaxAxes, shape_a);
  FillUp(tflite::micro::GetEvalInput(context, node, 1), kMaxAxes, shape_b);
  Broadcast broadcast;
  if (!MakeBroadcast(shape_a, shape_b, &broadcast)) return kTfLiteError;
  Compute(*static_cast<const Parameters*>(node->user_data), broadcast, InputData(context, node, 0),
          InputData(context, node, 1), OutputData(context, node));
  return kTfLiteOk;
}

TfLiteStatus PrepareAdd(TfLiteContext* context, TfLiteNode* node) {
  return Prepare<SumParameters>(context, node, "ADD", SumKind::kAdd);
}

TfLiteStatus PrepareSub(TfLiteContext* context, TfLiteNode* node) {
  return Prepare<SumParameters>(context, node, "SUB", SumKind::kSub);
}

void* InitMul(TfLiteContext* context, const char* buffer, size_t length) {
  ForgetTables();
  return AllocateData<MulData>(context, buffer, length);
}

bool IsSwish(TfLiteContext* context, const TfLiteNode* node, int value, int gate) {
  return IsSwishGate(node->inputs->data[value], node->inputs->data[gate]) &&
         InputInfo(context, node, gate).quantization == kUnitQuantization;
}

TfLiteStatus PrepareSwish(TfLiteContext* context, TfLiteNode* node, int value) {
  const TensorInfo input = InputInfo(context, node, value);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(input, output) || ElementCount(input) != ElementCount(output)) {
    return Refuse("MUL", "input and output of a swish must be int8 tensors of one size.");
  }
  MulData* const data = static_cast<MulData*>(node->user_data);
  data->swish = FindOrFillTable(context, Function::kSwish, input.quantization, output.quantization);
  return data->swish != nullptr ? kTfLiteOk : Refuse("MUL", "the arena or the output's scale is too small.");
}

TfLiteStatus PrepareMul(TfLiteContext* context, TfLiteNode* node) {
  if (IsSwish(context, node, 0, 1)) return PrepareSwish(context, node, 0);
  if (IsSwish(context, node, 1, 0)) return PrepareSwish(context, node, 1);
  static_cast<MulData*>(node->user_data)->swish = nullptr;
  return Prepare<ProductParameters>(context, node, "MUL", 0);
}

TfLiteStatus InvokeMul(TfLiteContext* context, TfLiteNode* node) {
  const MulData& data = *static_cast<const MulData*>(node->user_data);
  if (data.swish == nullptr) return Invoke<ProductParameters>(context, node);
  // The gate has no elements.
  const int value = ElementCount(tflite::micro::GetEvalInput(context, node, 0)) > 0 ? 0 : 1;
  const int elements = ElementCount(tflite::micro::GetEvalInput(context, node, value));
  Lookup(data.swish, InputData(context, node, value), elements, OutputData(context, node));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kAdd = {
    MakeRegistration(BuiltinOperator_ADD, AllocateData<SumParameters>, PrepareAdd, Invoke<SumParameters>), ParseAddOptions};
constexpr Kernel kSub = {
    MakeRegistration(BuiltinOperator_SUB, AllocateData<SumParameters>, PrepareSub, Invoke<SumParameters>), ParseSubOptions};
constexpr Kernel kMul = {
    MakeRegistration(BuiltinOperator_MUL, InitMul, PrepareMul, InvokeMul), ParseMulOptions};

}  // namespace kser
