// Runs models in a real TensorFlow Lite Micro, with kser's kernels for chosen ops: a server on standard input and output.
//
// A request: number of ops that get kser's kernels and their codes; size of the model and the model; size of all inputs,
// run after run, and these. A reply: status (0, 1 not loaded, 2 not run), arena bytes, nodes, size of all outputs, outputs.
// All numbers are 32 bits in the host's order.
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "op_resolver.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

// In place of the library's, which is silent.
extern "C" void DebugLog(const char* format, std::va_list arguments) { std::vfprintf(stderr, format, arguments); }

namespace {

constexpr std::size_t kArenaBytes = 4 << 20;

using Bytes = std::vector<std::uint8_t>;
using LibraryResolver = tflite::MicroMutableOpResolver<32>;

// kser's kernels for some ops, as if the others were switched off.
class ChosenResolver : public tflite::MicroOpResolver {
 public:
  ChosenResolver(const tflite::MicroOpResolver& library, const std::set<std::uint32_t>& chosen, const std::uint8_t* model)
      : library_(library), kernels_(library, HasSwish(chosen) ? model : nullptr), chosen_(chosen) {}

  const kser::Registration* FindOp(tflite::BuiltinOperator op) const override { return Resolver(op).FindOp(op); }
  const kser::Registration* FindOp(const char* op) const override { return library_.FindOp(op); }
  kser::Parser GetOpDataParser(tflite::BuiltinOperator op) const override { return Resolver(op).GetOpDataParser(op); }

 private:
  static bool HasSwish(const std::set<std::uint32_t>& chosen) {
    return chosen.count(tflite::BuiltinOperator_LOGISTIC) > 0 && chosen.count(tflite::BuiltinOperator_MUL) > 0;
  }

  const tflite::MicroOpResolver& Resolver(tflite::BuiltinOperator op) const {
    return chosen_.count(static_cast<std::uint32_t>(op)) > 0 ? kernels_ : library_;
  }

  const tflite::MicroOpResolver& library_;
  const kser::KernelOpResolver kernels_;
  const std::set<std::uint32_t>& chosen_;
};

// The ops of kser's models but BATCH_MATMUL, which this library lacks.
void AddLibraryOps(LibraryResolver* resolver) {
  resolver->AddAdd();
  resolver->AddAveragePool2D();
  resolver->AddConcatenation();
  resolver->AddConv2D();
  resolver->AddDepthwiseConv2D();
  resolver->AddFullyConnected();
  resolver->AddHardSwish();
  resolver->AddL2Normalization();
  resolver->AddLogistic();
  resolver->AddMean();
  resolver->AddMul();
  resolver->AddPad();
  resolver->AddQuantize();
  resolver->AddReshape();
  resolver->AddSlice();
  resolver->AddSoftmax();
  resolver->AddSplit();
  resolver->AddStridedSlice();
  resolver->AddSub();
  resolver->AddTanh();
  resolver->AddTranspose();
}

struct Reply {
  std::uint32_t status;
  std::uint32_t arena_bytes;
  std::uint32_t nodes;
  std::uint32_t output_bytes;
};

std::size_t InputBytes(tflite::MicroInterpreter& interpreter) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < interpreter.inputs_size(); ++i) bytes += interpreter.input(i)->bytes;
  return bytes;
}

bool Invoke(tflite::MicroInterpreter& interpreter, const std::uint8_t* inputs, Bytes* outputs) {
  for (std::size_t i = 0; i < interpreter.inputs_size(); ++i) {
    TfLiteTensor* const input = interpreter.input(i);
    std::memcpy(input->data.raw, inputs, input->bytes);
    inputs += input->bytes;
  }
  if (interpreter.Invoke() != kTfLiteOk) return false;
  const TfLiteTensor* const output = interpreter.output(0);
  outputs->insert(outputs->end(), output->data.raw, output->data.raw + output->bytes);
  return true;
}

Reply Run(const std::set<std::uint32_t>& chosen, const Bytes& model_bytes, const Bytes& inputs, std::uint8_t* arena,
          Bytes* outputs) {
  LibraryResolver library;
  AddLibraryOps(&library);
  const ChosenResolver resolver(library, chosen, model_bytes.data());
  const tflite::Model* const model = tflite::GetModel(model_bytes.data());
  tflite::MicroInterpreter interpreter(model, resolver, arena, kArenaBytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) return {1, 0, 0, 0};
  const std::size_t step = InputBytes(interpreter);
  for (std::size_t at = 0; step > 0 && at + step <= inputs.size(); at += step) {
    if (!Invoke(interpreter, inputs.data() + at, outputs)) return {2, 0, 0, 0};
  }
  return {0, static_cast<std::uint32_t>(interpreter.arena_used_bytes()), model->subgraphs()->Get(0)->operators()->size(),
          static_cast<std::uint32_t>(outputs->size())};
}

bool Read(void* data, std::size_t size) { return std::fread(data, 1, size, stdin) == size; }

bool ReadBytes(Bytes* bytes) {
  std::uint32_t size;
  if (!Read(&size, sizeof(size))) return false;
  bytes->resize(size);
  return Read(bytes->data(), size);
}

bool ReadChosen(std::set<std::uint32_t>* chosen) {
  std::uint32_t count;
  if (!Read(&count, sizeof(count))) return false;
  for (std::uint32_t code; count > 0 && Read(&code, sizeof(code)); --count) chosen->insert(code);
  return count == 0;
}

}  // namespace

int main() {
  const std::unique_ptr<std::uint8_t[]> arena(new std::uint8_t[kArenaBytes]);
  while (true) {
    std::set<std::uint32_t> chosen;
    Bytes model;
    Bytes inputs;
    if (!ReadChosen(&chosen) || !ReadBytes(&model) || !ReadBytes(&inputs)) return 0;
    Bytes outputs;
    const Reply reply = Run(chosen, model, inputs, arena.get(), &outputs);
    std::fwrite(&reply, sizeof(reply), 1, stdout);
    if (reply.status == 0) std::fwrite(outputs.data(), 1, outputs.size(), stdout);
    std::fflush(stdout);
  }
}
