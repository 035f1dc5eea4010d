// All that a board runs: sound from its microphone, a line of JSON for each decision, on a few functions of the board.
#ifndef KSER_APPLICATION_H_
#define KSER_APPLICATION_H_

#include <cstdint>

#include "emotion_classifier.h"
#include "heap_arena.h"
#include "json_line.h"
#include "kernels/op_resolver.h"
#include "kser_memory.h"
#include "kser_model.h"
#include "kser_resolver.h"
#include "microphone_check.h"
#include "ring_buffer.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

// Define one as 1, here or for the compiler.
#ifndef KSER_SELFTEST
#define KSER_SELFTEST 0  // Runs the golden vectors before anything else.
#endif
#ifndef KSER_ARENA_AUTO
#define KSER_ARENA_AUTO 0  // Takes the arena from the heap, as large as the model turns out to need.
#endif
#ifndef KSER_SERIAL
#define KSER_SERIAL 0  // Answers a PC at the serial line: with its sound in place of the microphone's, or with what that hears.
#endif

#if KSER_SERIAL
#include "serial_link.h"
#endif

namespace kser {

// What the application asks of a board.
struct Board {
  Print print;                      // Writes text to the serial line.
  std::uint32_t (*microseconds)();  // A clock that wraps at 2^32.
  void (*show)(int label);          // Shows a decision, an index in kLabels or kSilence, by a LED.
  void (*sleep)();                  // Sleeps until an interrupt comes, such as that of the microphone's next block.
#if KSER_SERIAL
  int (*read_byte)();                     // The next byte from the serial line, -1 where none waits.
  void (*write_byte)(std::uint8_t byte);  // Writes a byte to it.
#endif
};

// Receives each decision after it was shown and printed. `context` is what was given with the function.
using DecisionCallback = void (*)(const Decision& decision, void* context);

class Application {
 public:
  explicit Application(const Board& board)
      : board_(board)
#if KSER_SERIAL
        ,
        link_(&classifier_, board.read_byte, board.write_byte, board.microseconds)
#endif
  {
  }

  // To be called when the microphone has been started, or not.
  void OnMicrophone(bool started);

  // Loads the model, before the microphone is started. False, and the reason printed, where that fails.
  bool SetUp();

  // Calls a function of yours for each decision, in Poll; nullptr: none. It should return within a few milliseconds.
  void OnDecision(DecisionCallback callback, void* context = nullptr) {
    callback_ = callback;
    callback_context_ = context;
  }

  // Takes samples in, in an interrupt or a task: just those that came, however few.
  void OnSamples(const std::int16_t* samples, std::uint32_t count) { ring_.Write(samples, count); }

  // Does what is to be done, and sleeps until there may be more; to be called again and again. After SetUp has failed that
  // is to tell why, every second, while the LED blinks.
  void Poll();

  // Prints a sentence on what has gone wrong.
  void Report(const char* sentence);

 private:
  Status LoadModel();
  Status LoadModelIn(std::size_t bytes);
  bool Fail(const char* sentence);
  void Work();
  void Sleep();
  int TakeShareAsleep();
  void Complain();
  void PrintFailure();
  void Watch();
  void CheckMicrophone();
  void PrintMicrophone();
  void Decide();
  void PrintDecision(const Decision& decision, std::uint32_t inference_us, std::uint32_t latency_samples);
  bool SelfTest();
#if KSER_SELFTEST
  bool Agree(const char* what, const std::int8_t* values, const std::int8_t* expected, int count, int* largest);
#endif

  const Board board_;
  DecisionCallback callback_ = nullptr;
  void* callback_context_ = nullptr;
  RingBuffer<kRingSamples> ring_;
  EmotionClassifier classifier_;
  MicrophoneCheck microphone_;
  tflite::MicroMutableOpResolver<kNumOps> library_ops_;
  const KernelOpResolver ops_{library_ops_, kModelData};
#if KSER_SERIAL
  SerialLink link_;
#endif
  bool is_set_up_ = false;
  const char* failure_ = nullptr;      // Why not.
  std::size_t arena_needed_bytes_ = 0;  // Where the arena is too small and what it should be is known.
  std::size_t arena_tried_bytes_ = 0;
  std::uint32_t last_complaint_us_ = 0;
  bool blink_ = false;
  bool sound_stopped_ = false;
  std::uint32_t last_sound_us_ = 0;
  std::uint32_t last_count_ = 0;
  std::uint32_t asleep_us_ = 0;  // Since share_begin_us_.
  std::uint32_t share_begin_us_ = 0;
  std::uint64_t num_samples_ = 0;  // That the microphone has brought, lost ones included.
#if KSER_ARENA_AUTO
  HeapArena arena_;
#else
  alignas(kArenaAlignment) std::uint8_t arena_[kArenaBytes];
#endif
};

}  // namespace kser

#endif  // KSER_APPLICATION_H_
