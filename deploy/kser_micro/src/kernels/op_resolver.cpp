#include "op_resolver.h"

#include "graph.h"
#include "switches.h"

namespace kser {

const Kernel* FindKernel(tflite::BuiltinOperator op) {
  switch (op) {
#if KSER_KERNEL_LOGISTIC
    case tflite::BuiltinOperator_LOGISTIC:
      return &kLogistic;
#endif
#if KSER_KERNEL_TANH
    case tflite::BuiltinOperator_TANH:
      return &kTanh;
#endif
#if KSER_KERNEL_HARD_SWISH
    case tflite::BuiltinOperator_HARD_SWISH:
      return &kHardSwish;
#endif
#if KSER_KERNEL_SOFTMAX
    case tflite::BuiltinOperator_SOFTMAX:
      return &kSoftmax;
#endif
#if KSER_KERNEL_L2_NORMALIZATION
    case tflite::BuiltinOperator_L2_NORMALIZATION:
      return &kL2Normalization;
#endif
#if KSER_KERNEL_MEAN
    case tflite::BuiltinOperator_MEAN:
      return &kMean;
#endif
#if KSER_KERNEL_ADD
    case tflite::BuiltinOperator_ADD:
      return &kAdd;
#endif
#if KSER_KERNEL_SUB
    case tflite::BuiltinOperator_SUB:
      return &kSub;
#endif
#if KSER_KERNEL_MUL
    case tflite::BuiltinOperator_MUL:
      return &kMul;
#endif
#if KSER_KERNEL_BATCH_MATMUL
    case tflite::BuiltinOperator_BATCH_MATMUL:
      return &kBatchMatMul;
#endif
#if KSER_KERNEL_FULLY_CONNECTED
    case tflite::BuiltinOperator_FULLY_CONNECTED:
      return &kFullyConnected;
#endif
#if KSER_KERNEL_CONV_2D
    case tflite::BuiltinOperator_CONV_2D:
      return &kConv2D;
#endif
#if KSER_KERNEL_DEPTHWISE_CONV_2D
    case tflite::BuiltinOperator_DEPTHWISE_CONV_2D:
      return &kDepthwiseConv2D;
#endif
#if KSER_KERNEL_PAD
    case tflite::BuiltinOperator_PAD:
      return &kPad;
#endif
    default:
      return nullptr;
  }
}

// An interpreter finds all ops of its model before it prepares the first node.
const Registration* KernelOpResolver::FindOp(tflite::BuiltinOperator op) const {
  SetGraph(model_);
  const Kernel* const kernel = FindKernel(op);
  return kernel != nullptr ? &kernel->registration : library_.FindOp(op);
}

Parser KernelOpResolver::GetOpDataParser(tflite::BuiltinOperator op) const {
  const Kernel* const kernel = FindKernel(op);
  return kernel != nullptr ? kernel->parser : library_.GetOpDataParser(op);
}

}  // namespace kser
