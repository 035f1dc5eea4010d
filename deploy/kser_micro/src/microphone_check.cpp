#include "microphone_check.h"

namespace kser {

const char* MicrophoneStateName(MicrophoneState state) {
  switch (state) {
    case MicrophoneState::kListening:
      return "listening";
    case MicrophoneState::kGood:
      return "good";
    case MicrophoneState::kSilent:
      return "silent";
    case MicrophoneState::kClipping:
      return "clipping";
    case MicrophoneState::kOffset:
      return "offset";
  }
  return "unknown";
}

const char* MicrophoneMessage(MicrophoneState state) {
  switch (state) {
    case MicrophoneState::kListening:
      return "The microphone is being listened to.";
    case MicrophoneState::kGood:
      return "The microphone gives sound.";
    case MicrophoneState::kSilent:
      return "The microphone gives nothing but silence; look at its wires, its power, and which channel it sends.";
    case MicrophoneState::kClipping:
      return "The microphone is too loud; lower its gain, or look at its data wire.";
    case MicrophoneState::kOffset:
      return "The microphone's samples are off zero; it needs a high pass, or its data wire is loose.";
  }
  return "Unknown state.";
}

void MicrophoneCheck::Add(const std::int16_t* samples, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count && !Done(); ++i) {
    if (++num_samples_ > kSettling) AddOne(samples[i]);
  }
}

void MicrophoneCheck::AddOne(std::int16_t sample) {
  sum_ += sample;
  if (sample < lowest_) lowest_ = sample;
  if (sample > highest_) highest_ = sample;
  if (sample == INT16_MIN || sample == INT16_MAX) ++clipped_;
}

MicrophoneState MicrophoneCheck::State() const {
  if (!Done()) return MicrophoneState::kListening;
  if (highest_ - lowest_ <= kSilentRange) return MicrophoneState::kSilent;
  if (clipped_ > kMostClipped) return MicrophoneState::kClipping;
  if (Offset() > kLargestOffset || Offset() < -kLargestOffset) return MicrophoneState::kOffset;
  return MicrophoneState::kGood;
}

}  // namespace kser
