// The kernels as TensorFlow Lite Micro knows them, each with the parser of its options.
#ifndef KSER_KERNELS_REGISTRATIONS_H_
#define KSER_KERNELS_REGISTRATIONS_H_

#include "tflm.h"

namespace kser {

struct Kernel {
  Registration registration;
  Parser parser;
};

extern const Kernel kLogistic;
extern const Kernel kTanh;
extern const Kernel kHardSwish;
extern const Kernel kSoftmax;
extern const Kernel kL2Normalization;
extern const Kernel kMean;
extern const Kernel kAdd;
extern const Kernel kSub;
extern const Kernel kMul;
extern const Kernel kBatchMatMul;
extern const Kernel kFullyConnected;
extern const Kernel kConv2D;
extern const Kernel kDepthwiseConv2D;
extern const Kernel kPad;

// Parsers are templates because the types of their arguments moved between namespaces: they follow from Parser. Options go
// into structs of the kernels' own, so that a library without an op, or without the parser linked, does as well.
template <typename Op, typename Reporter, typename Allocator>
TfLiteStatus ParseNothing(const Op*, Reporter*, Allocator*, void** builtin_data) {
  *builtin_data = nullptr;
  return kTfLiteOk;
}

// Stores a copy of the options in the arena.
template <typename Options, typename Allocator>
TfLiteStatus KeepOptions(const Options& options, Allocator* allocator, void** builtin_data) {
  Options* const kept = allocator->template AllocatePOD<Options>();
  if (kept == nullptr) return kTfLiteError;
  *kept = options;
  *builtin_data = kept;
  return kTfLiteOk;
}

// Of the ops whose only option is an activation fused into them.
struct ActivationOption {
  ActivationFunctionType activation;
};

template <typename Options, typename Allocator>
TfLiteStatus KeepActivation(const Options* options, Allocator* allocator, void** builtin_data) {
  const auto activation = options != nullptr ? options->fused_activation_function() : ActivationFunctionType_NONE;
  return KeepOptions(ActivationOption{activation}, allocator, builtin_data);
}

}  // namespace kser

#endif  // KSER_KERNELS_REGISTRATIONS_H_
