// The portable core as C functions, for Python.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "feature_stream.h"
#include "golden_clip.h"
#include "log_mel.h"
#include "ring_buffer.h"
#include "score_smoother.h"

namespace {

constexpr std::uint32_t kRingSamples = 2048;

struct Stream {
  explicit Stream(std::uint32_t first_sample) : ring(first_sample) {}
  kser::RingBuffer<kRingSamples> ring;
  kser::FeatureStream features;
  kser::ScoreSmoother smoother;
  alignas(16) float work[kser::kFftLength];
};

}  // namespace

extern "C" {

void kser_golden_clip(std::int16_t* samples, int num_samples) {
  kser::GoldenClip clip;
  for (int i = 0; i < num_samples; ++i) samples[i] = clip.Next();
}

// Log-mel of all frames that fit into the samples, (num_frames, kNumMels); returns their number.
int kser_log_mel(const std::int16_t* samples, int num_samples, float* out) {
  kser::LogMel log_mel;
  if (!log_mel.SetUp()) return -1;
  alignas(16) float work[kser::kFftLength];
  kser::Frame frame;
  int num_frames = 0;
  for (int count; (count = static_cast<int>(log_mel.SamplesNeeded())) <= num_samples; num_samples -= count) {
    std::memcpy(log_mel.Advance(), samples, static_cast<std::size_t>(count) * sizeof(*samples));
    samples += count;
    log_mel.Compute(work, &frame);
    std::memcpy(out + kser::kNumMels * num_frames++, frame.log_mel, sizeof(frame.log_mel));
  }
  return num_frames;
}

void* kser_stream_new(std::uint32_t first_sample) {
  auto* stream = new Stream(first_sample);
  stream->features.SetUp();
  return stream;
}

void kser_stream_delete(void* stream) { delete static_cast<Stream*>(stream); }

// As an interrupt and a loop would do it: a block into the ring, then all whole frames out of it. Returns whether a decision
// is due.
int kser_stream_feed(void* handle, const std::int16_t* samples, int num_samples) {
  auto* stream = static_cast<Stream*>(handle);
  stream->ring.Write(samples, static_cast<std::uint32_t>(num_samples));
  stream->features.Drain(&stream->ring, stream->work);
  return stream->features.DecisionDue();
}

void kser_stream_take(void* handle, std::int8_t* input) { static_cast<Stream*>(handle)->features.Take(input); }

float kser_stream_loudest_dbfs(const void* handle) {
  return static_cast<const Stream*>(handle)->features.window().LoudestDbfs();
}

std::uint32_t kser_stream_lost_samples(const void* handle) {
  return static_cast<const Stream*>(handle)->ring.lost_samples();
}

// Returns the label; the averaged probabilities go to `probabilities`.
int kser_stream_decide(void* handle, const std::int8_t* logits, float loudest_dbfs, float* probabilities) {
  const kser::Decision decision = static_cast<Stream*>(handle)->smoother.Update(logits, loudest_dbfs);
  std::memcpy(probabilities, decision.probabilities, sizeof(decision.probabilities));
  return decision.label;
}

}  // extern "C"
