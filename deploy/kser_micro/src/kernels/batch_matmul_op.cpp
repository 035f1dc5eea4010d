// BATCH_MATMUL.
#include "arithmetic.h"
#include "registrations.h"

namespace kser {
namespace {

constexpr const char* kName = "BATCH_MATMUL";
constexpr int kMatrixAxes = 2;

struct MatMulData {
  MatrixProductParameters parameters;
  // The product's workspace and behind it, without adj_y, where the right operand is transposed to, one matrix at a time.
  int scratch;
};
static_assert(sizeof(void*) > 4 || sizeof(MatMulData) <= 16, "a piece of the arena");

// The two matrices of a batch, and the batches that are multiplied.
struct Shapes {
  int rows;
  int columns;
  int depth;
  Broadcast batches;
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

constexpr int kFilledAxes = kMaxAxes + kMatrixAxes;

// Of shapes filled up to kFilledAxes. false if they do not fit.
bool MakeShapes(const int* left, const int* right, bool adj_y, Shapes* shapes) {
  shapes->rows = left[kMaxAxes];
  shapes->depth = left[kMaxAxes + 1];
  shapes->columns = right[adj_y ? kMaxAxes : kMaxAxes + 1];
  return right[adj_y ? kMaxAxes + 1 : kMaxAxes] == shapes->depth && MakeBroadcast(left, right, &shapes->batches);
}

bool FitsOutput(const TensorInfo& left, const TensorInfo& right, const TensorInfo& output, bool adj_y, Shapes* shapes) {
  int left_shape[kFilledAxes];
  int right_shape[kFilledAxes];
  FillUp(left.dims, left.rank, kFilledAxes, left_shape);
  FillUp(right.dims, right.rank, kFilledAxes, right_shape);
  return MakeShapes(left_shape, right_shape, adj_y, shapes) &&
         shapes->batches.Elements() * shapes->rows * shapes->columns == ElementCount(output);
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
  Shapes shapes;
  if (!FitsOutput(left, right, output, options.adj_y, &shapes)) return Refuse(kName, "the shapes do not fit.");
  MatrixProductParameters& parameters = data->parameters;
  parameters = MakeMatrixProduct(left.quantization, right.quantization, output.quantization,
                                 {output.quantization.zero_point, kInt8Min, kInt8Max});
  const std::int64_t largest_sum = LargestSum(shapes.depth, 0);
  if (!FitsInt32(largest_sum, parameters.FactorOf(0))) {
    return Refuse(kName, "the output's scale is too small for those of the inputs.");
  }
  parameters.exact = !IsFast(parameters.range, parameters.FactorOf(0), largest_sum);
  const int transposed = options.adj_y ? 0 : shapes.columns * shapes.depth;
  const size_t bytes = WorkspaceSize(shapes.depth) * sizeof(Pair) + transposed;
  return context->RequestScratchBufferInArena(context, bytes, &data->scratch);
}

struct Operands {
  const MatrixProductParameters& parameters;
  const Shapes& shapes;
  Pair* workspace;
  std::int8_t* transposed;  // nullptr: with adj_y
  std::int8_t* output;
};

// Multiplies the batches along an axis and those after it; left and right are those of the first.
void MultiplyBatches(Operands* operands, int axis, const std::int8_t* left, const std::int8_t* right) {
  const Shapes& shapes = operands->shapes;
  if (axis == shapes.batches.axes) {
    if (operands->transposed != nullptr) Transpose(right, shapes.depth, shapes.columns, operands->transposed);
    const RightMatrix matrix = {operands->transposed != nullptr ? operands->transposed : right, nullptr, shapes.columns,
                                shapes.depth};
    MatrixProduct(operands->parameters, left, shapes.rows, matrix, operands->workspace, operands->output);
    operands->output += shapes.rows * shapes.columns;
    return;
  }
  for (int i = 0; i < shapes.batches.size[axis]; ++i) {
    MultiplyBatches(operands, axis + 1, left, right);
    left += shapes.batches.step_a[axis] * shapes.rows * shapes.depth;
    right += shapes.batches.step_b[axis] * shapes.columns * shapes.depth;
  }
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const MatMulData& data = *static_cast<const MatMulData*>(node->user_data);
  const bool adj_y = static_cast<const MatMulOptions*>(node->builtin_data)->adj_y;
  int left_shape[kFilledAxes];
  int right_shape[kFilledAxes];
  FillUp(tflite::micro::GetEvalInput(context, node, 0), kFilledAxes, left_shape);
  FillUp(tflite::micro::GetEvalInput(context, node, 1), kFilledAxes, right_shape);
  Shapes shapes;
  if (!MakeShapes(left_shape, right_shape, adj_y, &shapes)) return kTfLiteError;
  Pair* const workspace = static_cast<Pair*>(context->GetScratchBuffer(context, data.scratch));
  Pair* const behind = workspace + WorkspaceSize(shapes.depth);
  Operands operands = {data.parameters, shapes, workspace, adj_y ? nullptr : reinterpret_cast<std::int8_t*>(behind),
                       OutputData(context, node)};
  MultiplyBatches(&operands, 0, InputData(context, node, 0), InputData(context, node, 1));
  return kTfLiteOk;
}

}  // namespace

constexpr Kernel kBatchMatMul = {
    MakeRegistration(BuiltinOperator_BATCH_MATMUL, AllocateData<MatMulData>, Prepare, Invoke), ParseMatMulOptions};

}  // namespace kser
