// An op resolver that puts kser's kernels in front of a library's.
#ifndef KSER_KERNELS_OP_RESOLVER_H_
#define KSER_KERNELS_OP_RESOLVER_H_

#include "registrations.h"

namespace kser {

// Finds kser's kernels, where they are switched on (see switches.h), and the library's for all other ops.
//
// The library's resolver must outlive this one. Ops that kser has kernels for need not be added to it: then the library's
// kernels for them are not even linked. Where the model's bytes are given, nodes that belong together do their work in one
// (see graph.h); they must be those of the interpreter's model.
class KernelOpResolver : public tflite::MicroOpResolver {
 public:
  explicit KernelOpResolver(const tflite::MicroOpResolver& library, const unsigned char* model = nullptr)
      : library_(library), model_(model) {}

  const Registration* FindOp(tflite::BuiltinOperator op) const override;
  const Registration* FindOp(const char* op) const override { return library_.FindOp(op); }
  Parser GetOpDataParser(tflite::BuiltinOperator op) const override;

 private:
  const tflite::MicroOpResolver& library_;
  const unsigned char* const model_;
};

// kser's kernel for the op, nullptr if there is none or it is switched off.
const Kernel* FindKernel(tflite::BuiltinOperator op);

}  // namespace kser

#endif  // KSER_KERNELS_OP_RESOLVER_H_
