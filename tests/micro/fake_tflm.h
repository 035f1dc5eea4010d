// Stand-in for the headers of TensorFlow Lite Micro: only the names the kernels use, where they are in early 2023 (before
// TFLMRegistration, parsers nested in the resolver) or in 2026 (all of it in tflite::micro).
#ifndef KSER_TESTS_MICRO_FAKE_TFLM_H_
#define KSER_TESTS_MICRO_FAKE_TFLM_H_

#include <cstddef>
#include <cstdint>

enum TfLiteStatus { kTfLiteOk, kTfLiteError };
enum TfLiteType { kTfLiteInt32 = 2, kTfLiteInt8 = 9 };

struct TfLiteIntArray {
  int size;
  int data[1];
};
struct TfLiteFloatArray {
  int size;
  float data[1];
};
enum TfLiteQuantizationType { kTfLiteNoQuantization, kTfLiteAffineQuantization };
struct TfLiteQuantization {
  TfLiteQuantizationType type;
  void* params;
};
struct TfLiteAffineQuantization {
  TfLiteFloatArray* scale;
};
struct TfLiteQuantizationParams {
  float scale;
  std::int32_t zero_point;
};
union TfLitePtrUnion {
  char* raw;
  void* data;
};
struct TfLiteTensor {
  TfLiteType type;
  TfLitePtrUnion data;
  TfLiteIntArray* dims;
  TfLiteQuantizationParams params;
  TfLiteQuantization quantization;
};
struct TfLiteEvalTensor {
  TfLiteIntArray* dims;
  TfLitePtrUnion data;
};
struct TfLiteNode {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  void* user_data;
  void* builtin_data;
};
struct TfLiteContext {
  void* (*AllocatePersistentBuffer)(TfLiteContext*, size_t);
  TfLiteStatus (*RequestScratchBufferInArena)(TfLiteContext*, size_t, int*);
  void* (*GetScratchBuffer)(TfLiteContext*, int);
};

#if KSER_FAKE_TFLM == 2023
struct TfLiteRegistration {
  void* (*init)(TfLiteContext*, const char*, size_t);
  void (*free)(TfLiteContext*, void*);
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*);
  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*);
  const char* (*profiling_string)(const TfLiteContext*, const TfLiteNode*);
  std::int32_t builtin_code;
  const char* custom_name;
  int version;
};
using FakeRegistration = TfLiteRegistration;
#else
struct TFLMRegistration {
  void* (*init)(TfLiteContext*, const char*, size_t);
  void (*free)(TfLiteContext*, void*);
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*);
  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*);
  void (*reset)(TfLiteContext*, void*);
  std::int32_t builtin_code;
  const char* custom_name;
};
using FakeRegistration = TFLMRegistration;
#endif

void MicroPrintf(const char* format, ...);

namespace flatbuffers {
template <typename T>
struct Vector {
  std::uint32_t size() const;
  T Get(std::uint32_t index) const;
  const T* begin() const;
  const T* end() const;
};
}  // namespace flatbuffers

namespace tflite {

enum BuiltinOperator : std::int32_t {
  BuiltinOperator_ADD,
  BuiltinOperator_L2_NORMALIZATION,
  BuiltinOperator_LOGISTIC,
  BuiltinOperator_MUL,
  BuiltinOperator_SOFTMAX,
  BuiltinOperator_TANH,
  BuiltinOperator_MEAN,
  BuiltinOperator_SUB,
  BuiltinOperator_HARD_SWISH,
  BuiltinOperator_BATCH_MATMUL,
  BuiltinOperator_FULLY_CONNECTED,
  BuiltinOperator_CONV_2D,
  BuiltinOperator_DEPTHWISE_CONV_2D,
  BuiltinOperator_PAD,
};
enum ActivationFunctionType : std::int8_t {
  ActivationFunctionType_NONE,
  ActivationFunctionType_RELU,
  ActivationFunctionType_RELU_N1_TO_1,
  ActivationFunctionType_RELU6,
};
struct ElementwiseOptions {
  ActivationFunctionType fused_activation_function() const;
};
struct SoftmaxOptions {
  float beta() const;
};
struct BatchMatMulOptions {
  bool adj_x() const;
  bool adj_y() const;
};
enum FullyConnectedOptionsWeightsFormat : std::int8_t { FullyConnectedOptionsWeightsFormat_DEFAULT };
struct FullyConnectedOptions {
  ActivationFunctionType fused_activation_function() const;
  FullyConnectedOptionsWeightsFormat weights_format() const;
};
enum Padding : std::int8_t { Padding_SAME, Padding_VALID };
struct ConvolutionOptions {
  ActivationFunctionType fused_activation_function() const;
  Padding padding() const;
  std::int32_t stride_h() const;
  std::int32_t stride_w() const;
  std::int32_t dilation_h_factor() const;
  std::int32_t dilation_w_factor() const;
};
using Indices = flatbuffers::Vector<std::int32_t>;
struct Operator {
  const FullyConnectedOptions* builtin_options_as_FullyConnectedOptions() const;
  const ConvolutionOptions* builtin_options_as_Conv2DOptions() const;
  const ConvolutionOptions* builtin_options_as_DepthwiseConv2DOptions() const;
  std::uint32_t opcode_index() const;
  const Indices* inputs() const;
  const Indices* outputs() const;
  const ElementwiseOptions* builtin_options_as_AddOptions() const;
  const ElementwiseOptions* builtin_options_as_SubOptions() const;
  const ElementwiseOptions* builtin_options_as_MulOptions() const;
  const SoftmaxOptions* builtin_options_as_SoftmaxOptions() const;
  const BatchMatMulOptions* builtin_options_as_BatchMatMulOptions() const;
};

struct OperatorCode {
  BuiltinOperator builtin_code() const;
  std::int8_t deprecated_builtin_code() const;
};
struct SubGraph {
  const flatbuffers::Vector<const Operator*>* operators() const;
  const Indices* outputs() const;
};
struct Model {
  const flatbuffers::Vector<const OperatorCode*>* operator_codes() const;
  const flatbuffers::Vector<const SubGraph*>* subgraphs() const;
};
const Model* GetModel(const void* bytes);

#if KSER_FAKE_TFLM != 2023
namespace micro {
#endif

class ErrorReporter;

class BuiltinDataAllocator {
 public:
  template <typename T>
  T* AllocatePOD();
};

class MicroContext {
 public:
  TfLiteTensor* AllocateTempInputTensor(const TfLiteNode* node, int index);
  TfLiteTensor* AllocateTempOutputTensor(const TfLiteNode* node, int index);
  void DeallocateTempTfLiteTensor(TfLiteTensor* tensor);
};
MicroContext* GetMicroContext(const TfLiteContext* context);

#if KSER_FAKE_TFLM == 2023
class OpResolver {
 public:
  virtual const FakeRegistration* FindOp(BuiltinOperator op, int version) const = 0;
  virtual const FakeRegistration* FindOp(const char* op, int version) const = 0;

 protected:
  ~OpResolver() = default;
};

class MicroOpResolver : public OpResolver {
 public:
  using BuiltinParseFunction = TfLiteStatus (*)(const Operator*, ErrorReporter*, BuiltinDataAllocator*, void**);
  virtual const FakeRegistration* FindOp(BuiltinOperator op) const = 0;
  virtual const FakeRegistration* FindOp(const char* op) const = 0;
  const FakeRegistration* FindOp(BuiltinOperator op, int) const final { return FindOp(op); }
  const FakeRegistration* FindOp(const char* op, int) const final { return FindOp(op); }
  virtual BuiltinParseFunction GetOpDataParser(BuiltinOperator op) const = 0;

 protected:
  ~MicroOpResolver() = default;
};

namespace micro {
#else
using TfLiteBridgeBuiltinParseFunction = TfLiteStatus (*)(const Operator*, ErrorReporter*, BuiltinDataAllocator*, void**);

class MicroOpResolver {
 public:
  virtual const FakeRegistration* FindOp(BuiltinOperator op) const = 0;
  virtual const FakeRegistration* FindOp(const char* op) const = 0;
  virtual TfLiteBridgeBuiltinParseFunction GetOpDataParser(BuiltinOperator op) const = 0;

 protected:
  ~MicroOpResolver() = default;
};
#endif

const TfLiteEvalTensor* GetEvalInput(const TfLiteContext* context, const TfLiteNode* node, int index);
TfLiteEvalTensor* GetEvalOutput(const TfLiteContext* context, const TfLiteNode* node, int index);
template <typename T>
T* GetTensorData(TfLiteEvalTensor* tensor);
template <typename T>
const T* GetTensorData(const TfLiteEvalTensor* tensor);

}  // namespace micro

#if KSER_FAKE_TFLM != 2023
using micro::MicroOpResolver;
#endif

}  // namespace tflite

#endif  // KSER_TESTS_MICRO_FAKE_TFLM_H_
