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
struct Operator {
  const ElementwiseOptions* builtin_options_as_AddOptions() const;
  const ElementwiseOptions* builtin_options_as_SubOptions() const;
  const ElementwiseOptions* builtin_options_as_MulOptions() const;
  const SoftmaxOptions* builtin_options_as_SoftmaxOptions() const;
  const BatchMatMulOptions* builtin_options_as_BatchMatMulOptions() const;
};

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
