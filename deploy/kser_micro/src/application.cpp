#include "application.h"

#include "fast_math.h"
#include "golden_clip.h"
#if KSER_SELFTEST
#include "kser_golden.h"
#endif

namespace kser {
namespace {

constexpr std::uint32_t kStoppedUs = 1000000;
constexpr std::uint32_t kComplaintUs = 1000000;

}  // namespace

void Application::Report(const char* sentence) { JsonLine(board_.print).Text("error", sentence); }

bool Application::SetUp() {
  is_set_up_ = false;
  failure_ = nullptr;
  if (RegisterOps(&library_ops_) != kTfLiteOk) return Fail("The ops could not be registered; generate the project again.");
  const Status status = LoadModel();
  if (status != Status::kOk) return Fail(StatusMessage(status));
  JsonLine(board_.print).Number("arena_used_bytes", static_cast<std::int64_t>(classifier_.arena_used_bytes()));
  is_set_up_ = SelfTest();
  last_count_ = ring_.sample_count();
  last_sound_us_ = share_begin_us_ = board_.microseconds();
  return is_set_up_;
}

void Application::OnMicrophone(bool started) {
  if (!started) return Report("The microphone could not be started.");
#if KSER_SERIAL
  link_.SetMicrophone(&ring_);
#endif
}

// --- Arena

// Where the arena is too small, finds out on the heap how large it should be; with KSER_ARENA_AUTO it then has that size.
Status Application::LoadModel() {
  Status status = LoadModelIn(kArenaBytes);
  if (status != Status::kAllocationFailed) return status;
  const auto used_bytes = [this](std::uint8_t* arena, std::size_t bytes) {
    const bool loads = classifier_.SetUp(kModelData, ops_, arena, bytes) == Status::kOk;
    const std::size_t used = loads ? classifier_.arena_used_bytes() : 0;
    classifier_.Release();
    return used;
  };
  arena_tried_bytes_ = kArenaBytes;
  arena_needed_bytes_ = FindArenaBytes(kArenaBytes, used_bytes, &arena_tried_bytes_);
  return KSER_ARENA_AUTO && arena_needed_bytes_ != 0 ? LoadModelIn(arena_needed_bytes_) : status;
}

Status Application::LoadModelIn(std::size_t bytes) {
#if KSER_ARENA_AUTO
  const bool allocated = arena_.Allocate(bytes);
  const Status status = allocated ? classifier_.SetUp(kModelData, ops_, arena_.data(), bytes) : Status::kAllocationFailed;
  if (status != Status::kOk) arena_.Release();
  return status;
#else
  return classifier_.SetUp(kModelData, ops_, arena_, bytes);
#endif
}

// --- Failure

bool Application::Fail(const char* sentence) {
  failure_ = sentence;
  PrintFailure();
  last_complaint_us_ = board_.microseconds();
  return false;
}

void Application::PrintFailure() {
  JsonLine line(board_.print);
  line.Text("error", failure_);
  if (arena_tried_bytes_ == 0) return;
  line.Number("arena_bytes", static_cast<std::int64_t>(kArenaBytes));
  if (arena_needed_bytes_ != 0) {
    line.Number("arena_needed_bytes", static_cast<std::int64_t>(arena_needed_bytes_));
  } else {
    line.Number("arena_needs_more_than_bytes", static_cast<std::int64_t>(arena_tried_bytes_));
  }
}

void Application::Complain() {
  const std::uint32_t now = board_.microseconds();
  if (failure_ == nullptr || now - last_complaint_us_ < kComplaintUs) return;
  last_complaint_us_ = now;
  blink_ = !blink_;
  board_.show(blink_ ? 0 : kSilence);
  PrintFailure();
}

void Application::Poll() {
  Work();
  Sleep();
}

void Application::Work() {
  if (!is_set_up_) return Complain();
#if KSER_SERIAL
  link_.Poll();  // Its answers are in place of the lines below.
#else
  Watch();
  if (!microphone_.Done()) return CheckMicrophone();
  classifier_.Listen(&ring_);
  if (classifier_.DecisionDue()) Decide();
#endif
}

void Application::Sleep() {
  const std::uint32_t begin = board_.microseconds();
  board_.sleep();
  asleep_us_ += board_.microseconds() - begin;
}

// Per mille of the time since the last call that was slept.
int Application::TakeShareAsleep() {
  const std::uint32_t now = board_.microseconds();
  const std::uint32_t passed = now - share_begin_us_;
  const std::uint64_t share = passed == 0 ? 0 : std::uint64_t{1000} * asleep_us_ / passed;
  share_begin_us_ = now;
  asleep_us_ = 0;
  return static_cast<int>(share);
}

// Counts the samples, and tells of a microphone from which none come any more.
void Application::Watch() {
  const std::uint32_t count = ring_.sample_count();
  const std::uint32_t now = board_.microseconds();
  if (count != last_count_) {
    num_samples_ += count - last_count_;
    last_count_ = count;
    last_sound_us_ = now;
    sound_stopped_ = false;
  } else if (!sound_stopped_ && now - last_sound_us_ > kStoppedUs) {
    sound_stopped_ = true;
    Report("No samples come from the microphone; look at its wires and pins, and start the board again.");
  }
}

// --- Microphone

void Application::CheckMicrophone() {
  std::int16_t samples[64];
  constexpr std::uint32_t kCount = sizeof(samples) / sizeof(samples[0]);
  ring_.Recover();
  while (!microphone_.Done() && ring_.Read(samples, kCount)) microphone_.Add(samples, kCount);
  if (microphone_.Done()) PrintMicrophone();
}

void Application::PrintMicrophone() {
  const MicrophoneState state = microphone_.State();
  JsonLine line(board_.print);
  line.Text("microphone", MicrophoneStateName(state));
  line.Number("offset", microphone_.Offset());
  line.Number("lowest", microphone_.Lowest());
  line.Number("highest", microphone_.Highest());
  line.Number("clipped", microphone_.Clipped());
  if (state != MicrophoneState::kGood) line.Text("error", MicrophoneMessage(state));
}

// --- Decisions

void Application::Decide() {
  const std::uint32_t heard = ring_.sample_count() - ring_.Available();
  const std::uint32_t start_us = board_.microseconds();
  Decision decision;
  const Status status = classifier_.Decide(&decision);
  const std::uint32_t inference_us = board_.microseconds() - start_us;
  if (status != Status::kOk) return Report(StatusMessage(status));
  board_.show(decision.label);
  PrintDecision(decision, inference_us, ring_.sample_count() - heard);
  if (callback_ != nullptr) callback_(decision, callback_context_);
}

void Application::PrintDecision(const Decision& decision, std::uint32_t inference_us, std::uint32_t latency_samples) {
  JsonLine line(board_.print);
  line.Number("second", static_cast<std::int64_t>(num_samples_ / (kSampleRateHz / 100)), 2);
  line.Text("label", decision.label == kSilence ? "silence" : kLabels[decision.label]);
  line.Open("scores");
  for (int i = 0; i < kNumClasses; ++i) line.Number(kLabels[i], RoundToInt(decision.probabilities[i] * 1000.0f), 3);
  line.Close();
  line.Number("loudest_dbfs", RoundToInt(decision.loudest_dbfs));
  line.Number("inference_ms", inference_us / 100, 1);
  line.Number("asleep", TakeShareAsleep() / 10, 2);
  // The age of the newest samples that were decided on.
  line.Number("latency_ms", latency_samples / (kSampleRateHz / 1000));
  line.Number("overruns", ring_.overruns());
  line.Number("lost_samples", ring_.lost_samples());
}

// --- Self-test

#if KSER_SELFTEST

namespace {

// The features are computed in float here and in double on the PC; the library's kernels may round otherwise than those of
// the PC's. Both differ by a step at times, and what is wrong differs by many.
constexpr int kMostSteps = 2;

constexpr std::uint32_t kGoldenSamples = kWindowSamples + (kNumFrames - 1) * kHopSamples;

}  // namespace

bool Application::SelfTest() {
  static std::int8_t input[kWindowValues];
  GoldenClip clip;
  for (std::uint32_t i = 0; i < kGoldenSamples; ++i) {
    const std::int16_t sample = clip.Next();
    ring_.Write(&sample, 1);
    classifier_.Listen(&ring_);
  }
  classifier_.stream().window().Quantize(input);
  classifier_.Reset();
  std::int8_t logits[kNumClasses];
  const Status status = classifier_.Classify(kGoldenInput, logits);
  if (status != Status::kOk) return Fail(StatusMessage(status));
  int input_steps = 0;
  int logit_steps = 0;
  if (!Agree("input", input, kGoldenInput, kWindowValues, &input_steps)) return false;
  if (!Agree("logits", logits, kGoldenLogits, kNumClasses, &logit_steps)) return false;
  JsonLine line(board_.print);
  line.Text("selftest", "PASS");
  line.Number("input_steps", input_steps);
  line.Number("logit_steps", logit_steps);
  return true;
}

// Prints the first difference of more than kMostSteps; `largest` is that of all.
bool Application::Agree(const char* what, const std::int8_t* values, const std::int8_t* expected, int count, int* largest) {
  for (int i = 0; i < count; ++i) {
    const int steps = values[i] < expected[i] ? expected[i] - values[i] : values[i] - expected[i];
    if (steps > *largest) *largest = steps;
    if (steps <= kMostSteps) continue;
    JsonLine line(board_.print);
    line.Text("selftest", "FAIL");
    line.Text("differs", what);
    line.Number("index", i);
    line.Number("value", values[i]);
    line.Number("expected", expected[i]);
    return false;
  }
  return true;
}

#else

bool Application::SelfTest() { return true; }

#endif

}  // namespace kser
