// BATCH_MATMUL.
#include "arithmetic.h"
#include "registrations.h"

namespace kser {
namespace {

constexpr const char* kName = "BATCH_MATMUL";
constexpr int kMatrixAxes = 2;
constexpr int kNoScratch = -1;

struct MatMulData {
  MatrixProductParameters parameters;
  Broadcast batches;
  int rows;
  int columns;
  int depth;
  // Where a right operand without adj_y is transposed to, one matrix at a time.
  int scratch;
};

struct MatMulOptions {
  bool adj_x;
  bool adj_y;
};

template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseMatMulOptions(const Op* op, Reporter*, Allocator* allocator, void** builtin_data) {
  const auto* const options = op->builtin_options_as_BatchMatMulOptions();
  const MatMulOptions kept = {options != nullptr && options->adj_x(), options != nullptr && options->adj_y()};
  return KeepOptions(kept, allocator, builtin_data);
}

TfLiteStatus PrepareShapes(const TensorInfo& left, const TensorInfo& right, const TensorInfo& output, bool adj_y,
                           MatMulData* data) {
  int left_dims[kMaxAxes + kMatrixAxes];
  int right_dims[kMaxAxes + kMatrixAxes];
  FillUp(left, kMaxAxes + kMatrixAxes, left_dims);
  FillUp(right, kMaxAxes + kMatrixAxes, right_dims);
  data->rows = left_dims[kMaxAxes];
  data->depth = left_dims[kMaxAxes + 1];
  data->columns = right_dims[adj_y ? kMaxAxes : kMaxAxes + 1];
  if (right_dims[adj_y ? kMaxAxes + 1 : kMaxAxes] != data->depth) return Refuse(kName, "the inner axes differ.");
  int size = data->rows * data->columns;
  if (!MakeBroadcast(left_dims, right_dims, &data->batches)) return Refuse(kName, "the batches do not broadcast.");
  for (int axis = 0; axis < data->batches.axes; ++axis) size *= data->batches.size[axis];
  return size == ElementCount(output) ? kTfLiteOk : Refuse(kName, "the output has another size.");
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  const TensorInfo left = InputInfo(context, node, 0);
  const TensorInfo right = InputInfo(context, node, 1);
  const TensorInfo output = OutputInfo(context, node, 0);
  if (!AreInt8(left, right) || !AreInt8(left, output)) return Refuse(kName, "inputs and output must be int8 tensors.");
  if (left.rank < kMatrixAxes || right.rank < kMatrixAxes) return Refuse(kName, "inputs must have two axes or more.");
  const auto& options = *static_cast<const MatMulOptions*>(node->builtin_data);
  if (options.adj_x) return Refuse(kName, "adj_x is not supported.");
  MatMulData* const data = static_cast<MatMulData*>(node->user_data);
  if (PrepareShapes(left, right, output, options.adj_y, data) != kTfLiteOk) return kTfLiteError;
  if (!MakeMatrixProduct(left.quantization, right.quantization, output.quantization, data->depth, &data->parameters)) {
    return Refuse(kName, "the output's scale is too small for those of the inputs.");
  }
  data->scratch = kNoScratch;
  if (options.adj_y) return kTfLiteOk;
  return context->RequestScratchBufferInArena(context, static_cast<size_t>(data->columns) * data->depth, &data->scratch);
}

// Multiplies the batches along an axis and those after it; left and right are those of the first.
void MultiplyBatches(const MatMulData& data, int axis, const std::int8_t* left, const std::int8_t* right,
                     std::int8_t* scratch, std::int8_t** output) {
  if (axis == data.batches.axes) {
    if (scratch != nullptr) Transpose(right, data.depth, data.columns, scratch);
    MatrixProduct(data.parameters, left, scratch != nullptr ? scratch : right, data.rows, data.columns, data.depth, *output);
    *output += data.rows * data.columns;
    return;
  }
  for (int i = 0; i < data.batches.size[axis]; ++i) {
    MultiplyBatches(data, axis + 1, left, right, scratch, output);
    left += data.batches.step_a[axis] * data.rows * data.depth;
    right += data.batches.step_b[axis] * data.columns * data.depth;
  }
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const MatMulData& data = *static_cast<const MatMulData*>(node->user_data);
  void* const scratch = data.scratch == kNoScratch ? nullptr : context->GetScratchBuffer(context, data.scratch);
  std::int8_t* output = OutputData(context, node);
  MultiplyBatches(data, 0, InputData(context, node, 0), InputData(context, node, 1), static_cast<std::int8_t*>(scratch),
                  &output);
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kBatchMatMul = {
    MakeRegistration(BuiltinOperator_BATCH_MATMUL, AllocateData<MatMulData>, Prepare, Invoke), ParseMatMulOptions};

}  // namespace kser
