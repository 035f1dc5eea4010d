#include "emotion_classifier.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <new>

namespace kser {
namespace {

constexpr std::uint32_t kSchemaVersion = 3;
constexpr char kMetadataName[] = "kser";

// FNV-1a, 32 bits (Fowler, Noll, Vo).
std::uint32_t Hash(const std::uint8_t* data, std::size_t size) {
  std::uint32_t hash = 0x811c9dc5u;
  for (std::size_t i = 0; i < size; ++i) hash = (hash ^ data[i]) * 0x01000193u;
  return hash;
}

bool IsKserMetadata(const tflite::Metadata& entry) {
  constexpr std::size_t kLength = sizeof(kMetadataName) - 1;
  const auto* name = entry.name();
  return name != nullptr && name->size() == kLength && std::equal(name->begin(), name->end(), kMetadataName);
}

// The buffer of kser's metadata, or null.
const tflite::Buffer* FindMetadata(const tflite::Model& model) {
  if (model.metadata() == nullptr || model.buffers() == nullptr) return nullptr;
  for (const tflite::Metadata* entry : *model.metadata()) {
    if (IsKserMetadata(*entry) && entry->buffer() < model.buffers()->size()) return model.buffers()->Get(entry->buffer());
  }
  return nullptr;
}

Status CheckMetadata(const tflite::Model& model) {
  const tflite::Buffer* buffer = FindMetadata(model);
  if (buffer == nullptr || buffer->data() == nullptr) return Status::kNoMetadata;
  const bool same = Hash(buffer->data()->data(), buffer->data()->size()) == kMetadataHash;
  return same ? Status::kOk : Status::kOtherModel;
}

Status CheckModel(const unsigned char* data) {
  if (data == nullptr || !tflite::ModelBufferHasIdentifier(data)) return Status::kNoModel;
  const tflite::Model& model = *tflite::GetModel(data);
  return model.version() == kSchemaVersion ? CheckMetadata(model) : Status::kOtherSchema;
}

bool HasShape(const TfLiteTensor& tensor, std::initializer_list<int> shape) {
  if (tensor.dims == nullptr || tensor.dims->size != static_cast<int>(shape.size())) return false;
  const int* dim = tensor.dims->data;
  for (int expected : shape) {
    if (*dim++ != expected) return false;
  }
  return true;
}

// Scales are printed with all digits of a float32: they come back as they were.
bool IsInt8(const TfLiteTensor* tensor, std::initializer_list<int> shape, float scale, int zero_point) {
  return tensor != nullptr && tensor->type == kTfLiteInt8 && HasShape(*tensor, shape) && tensor->params.scale == scale &&
         tensor->params.zero_point == zero_point;
}

}  // namespace

const char* StatusMessage(Status status) {
  switch (status) {
    case Status::kOk:
      return "All is well.";
    case Status::kNotSetUp:
      return "SetUp has not been called or has failed; look at what it returned.";
    case Status::kNoModel:
      return "There is no TensorFlow Lite model; generate the project again with bin/fold_and_convert.";
    case Status::kOtherSchema:
      return "The model is of another schema than version 3; convert it again.";
    case Status::kNoMetadata:
      return "The model has no kser metadata; use the model.tflite that bin/fold_and_convert writes.";
    case Status::kOtherModel:
      return "kser_settings.h was generated from another model; generate the project again.";
    case Status::kFftFailed:
      return "The FFT could not be set up; raise CONFIG_DSP_MAX_FFT_SIZE or leave KSER_FFT_ESP undefined.";
    case Status::kAllocationFailed:
      return "The arena is too small: raise kArenaBytes in kser_memory.h. Or an op is missing; TFLM's message tells which.";
    case Status::kOtherInput:
      return "The model's input is not the one in kser_settings.h; generate the project again.";
    case Status::kOtherOutput:
      return "The model's output is not the one in kser_settings.h; generate the project again.";
    case Status::kNoDecisionDue:
      return "No decision is due yet; call Listen until DecisionDue.";
    case Status::kInvokeFailed:
      return "The model failed while running; TFLM's message above tells why.";
  }
  return "Unknown status.";
}

EmotionClassifier::~EmotionClassifier() { Release(); }

void EmotionClassifier::Release() {
  is_set_up_ = false;
  if (has_interpreter_) Interpreter()->~MicroInterpreter();
  has_interpreter_ = false;
}

Status EmotionClassifier::SetUp(const unsigned char* model, const tflite::MicroOpResolver& resolver, std::uint8_t* arena,
                                std::size_t arena_bytes) {
  Release();
  Status status = CheckModel(model);
  if (status == Status::kOk && !stream_.SetUp()) status = Status::kFftFailed;
  if (status == Status::kOk) status = Allocate(tflite::GetModel(model), resolver, arena, arena_bytes);
  if (status == Status::kOk) status = BindTensors();
  if (status != Status::kOk) Release();
  is_set_up_ = status == Status::kOk;
  smoother_.Reset();
  return status;
}

Status EmotionClassifier::Allocate(const tflite::Model* model, const tflite::MicroOpResolver& resolver,
                                   std::uint8_t* arena, std::size_t arena_bytes) {
  if (arena == nullptr) return Status::kAllocationFailed;
  new (interpreter_) tflite::MicroInterpreter(model, resolver, arena, arena_bytes);
  has_interpreter_ = true;
  return Interpreter()->AllocateTensors() == kTfLiteOk ? Status::kOk : Status::kAllocationFailed;
}

Status EmotionClassifier::BindTensors() {
  tflite::MicroInterpreter* interpreter = Interpreter();
  TfLiteTensor* input = interpreter->inputs_size() == 1 ? interpreter->input(0) : nullptr;
  if (!IsInt8(input, {1, kNumFrames, kNumMels}, kInputScale, kInputZeroPoint)) return Status::kOtherInput;
  const TfLiteTensor* output = interpreter->outputs_size() == 1 ? interpreter->output(0) : nullptr;
  if (!IsInt8(output, {1, kNumClasses}, kOutputScale, kOutputZeroPoint)) return Status::kOtherOutput;
  input_ = input->data.int8;
  output_ = output->data.int8;
  return Status::kOk;
}

Status EmotionClassifier::Decide(Decision* decision) {
  if (!is_set_up_) return Status::kNotSetUp;
  if (!stream_.DecisionDue()) return Status::kNoDecisionDue;
  const float loudest_dbfs = stream_.window().LoudestDbfs();
  if (IsSilent(loudest_dbfs)) {
    stream_.Pass();
    *decision = smoother_.Silence(loudest_dbfs);
    return Status::kOk;
  }
  stream_.Take(input_);
  const Status status = Invoke();
  if (status == Status::kOk) *decision = smoother_.Update(output_, loudest_dbfs);
  return status;
}

Status EmotionClassifier::Classify(const std::int8_t* input, std::int8_t* logits) {
  if (!is_set_up_) return Status::kNotSetUp;
  std::memcpy(input_, input, kWindowValues);
  const Status status = Invoke();
  if (status == Status::kOk) std::memcpy(logits, output_, kNumClasses);
  return status;
}

Status EmotionClassifier::Invoke() {
  return Interpreter()->Invoke() == kTfLiteOk ? Status::kOk : Status::kInvokeFailed;
}

void EmotionClassifier::Reset() {
  stream_.Reset();
  smoother_.Reset();
}

}  // namespace kser
