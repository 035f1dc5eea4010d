// Sound to decisions: front end, model in TensorFlow Lite Micro, smoothing.
#ifndef KSER_EMOTION_CLASSIFIER_H_
#define KSER_EMOTION_CLASSIFIER_H_

#include <cstddef>
#include <cstdint>

#include "feature_stream.h"
#include "kser_settings.h"
#include "ring_buffer.h"
#include "score_smoother.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace kser {

enum class Status {
  kOk,
  kNotSetUp,
  kNoModel,
  kOtherSchema,
  kNoMetadata,
  kOtherModel,
  kFftFailed,
  kAllocationFailed,
  kOtherInput,
  kOtherOutput,
  kNoDecisionDue,
  kInvokeFailed,
};

// A sentence on what a status means and what to do.
const char* StatusMessage(Status status);

// Has no heap: it is as large as the window of features, and the model's tensors lie in the arena it is given.
class EmotionClassifier {
 public:
  EmotionClassifier() = default;
  ~EmotionClassifier();
  EmotionClassifier(const EmotionClassifier&) = delete;
  EmotionClassifier& operator=(const EmotionClassifier&) = delete;

  // Loads the model, which must be the one kser_settings.h was generated from. Model, resolver and arena must outlive this;
  // the arena begins on a 16-byte boundary. After a failure all else returns kNotSetUp.
  Status SetUp(const unsigned char* model, const tflite::MicroOpResolver& resolver, std::uint8_t* arena,
               std::size_t arena_bytes);

  // Forgets the model: the arena may go.
  void Release();

  // Makes features of all samples that wait, which a loop should not let wait for long.
  template <std::uint32_t kCapacity>
  Status Listen(RingBuffer<kCapacity>* ring) {
    if (!is_set_up_) return Status::kNotSetUp;
    stream_.Drain(ring, Work());
    return Status::kOk;
  }

  // Whether it is time for Decide.
  bool DecisionDue() const { return is_set_up_ && stream_.DecisionDue(); }

  // Runs the model on the window of features, unless that is silence; kNoDecisionDue before it is time.
  Status Decide(Decision* decision);

  // Runs the model on kNumFrames * kNumMels values as its input stores them; kNumClasses values come out, as stored.
  Status Classify(const std::int8_t* input, std::int8_t* logits);

  // Forgets all sound and decisions.
  void Reset();

  const FeatureStream& stream() const { return stream_; }

  // What the model gave last, kNumClasses values as stored: after Decide, if not silence, or Classify until the next Listen.
  const std::int8_t* logits() const { return output_; }

  std::size_t arena_used_bytes() const { return is_set_up_ ? Interpreter()->arena_used_bytes() : 0; }

 private:
  // Between two inferences nobody uses the model's input: a frame is transformed there, where it fits.
  static constexpr bool kWorkInInput = kWindowValues >= static_cast<int>(kFftLength * sizeof(float));

  tflite::MicroInterpreter* Interpreter() { return reinterpret_cast<tflite::MicroInterpreter*>(interpreter_); }
  const tflite::MicroInterpreter* Interpreter() const {
    return reinterpret_cast<const tflite::MicroInterpreter*>(interpreter_);
  }
  float* Work() { return kWorkInInput ? reinterpret_cast<float*>(input_) : own_work_; }
  Status Allocate(const tflite::Model* model, const tflite::MicroOpResolver& resolver, std::uint8_t* arena,
                  std::size_t arena_bytes);
  Status BindTensors();
  Status Invoke();

  alignas(tflite::MicroInterpreter) unsigned char interpreter_[sizeof(tflite::MicroInterpreter)];
  alignas(16) float own_work_[kWorkInInput ? 1 : kFftLength];
  FeatureStream stream_;
  ScoreSmoother smoother_;
  std::int8_t* input_ = nullptr;
  const std::int8_t* output_ = nullptr;
  bool has_interpreter_ = false;
  bool is_set_up_ = false;
};

}  // namespace kser

#endif  // KSER_EMOTION_CLASSIFIER_H_
