// What comes between a microphone and the ring: I2S slots, and the check at the start.
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "i2s_slot.h"
#include "microphone_check.h"

namespace {

using kser::MicrophoneState;

using Samples = std::vector<std::int16_t>;

constexpr int kSecond = kser::kSampleRateHz;

// Two seconds of a tone.
Samples Tone(double amplitude, double offset) {
  Samples samples;
  for (int i = 0; i < 2 * kSecond; ++i) {
    const double value = std::rint(offset + amplitude * std::sin(i * 0.1));
    samples.push_back(static_cast<std::int16_t>(value > 32767 ? 32767 : (value < -32768 ? -32768 : value)));
  }
  return samples;
}

MicrophoneState StateOf(const Samples& samples) {
  kser::MicrophoneCheck check;
  check.Add(samples.data(), static_cast<std::uint32_t>(samples.size()));
  CHECK(check.Done());
  return check.State();
}

void StatesAreTold() {
  CHECK(StateOf(Tone(1000, 0)) == MicrophoneState::kGood);
  CHECK(StateOf(Tone(1000, -300)) == MicrophoneState::kGood);
  CHECK(StateOf(Tone(2, 0)) == MicrophoneState::kGood);
  CHECK(StateOf(Tone(1000, 400)) == MicrophoneState::kOffset);
  CHECK(StateOf(Tone(1000, -400)) == MicrophoneState::kOffset);
  CHECK(StateOf(Tone(40000, 0)) == MicrophoneState::kClipping);
  CHECK(StateOf(Tone(1, 0)) == MicrophoneState::kSilent);
  CHECK(StateOf(Samples(2 * kSecond, -1)) == MicrophoneState::kSilent);
}

void ItTakesASecondAndAHalfInAnyPieces() {
  kser::MicrophoneCheck check;
  const Samples tone = Tone(1000, 0);
  for (int i = 0; i < kSecond * 3 / 2; ++i) {
    CHECK(!check.Done() && check.State() == MicrophoneState::kListening);
    check.Add(&tone[static_cast<std::size_t>(i)], 1);
  }
  CHECK(check.Done() && check.State() == MicrophoneState::kGood);
  const Samples noise(100, 32767);
  check.Add(noise.data(), 100);
  CHECK(check.Clipped() == 0 && check.Highest() == 1000 && check.Lowest() == -1000 && check.Offset() == 0);
}

void TheStartIsNotJudged() {
  Samples samples = Tone(1000, 0);
  for (int i = 0; i < kSecond / 2; ++i) samples[static_cast<std::size_t>(i)] = 32767;
  CHECK(StateOf(samples) == MicrophoneState::kGood);
}

void EveryStateHasAWordAndASentence() {
  for (int i = 0; i <= static_cast<int>(MicrophoneState::kOffset); ++i) {
    const std::string sentence = kser::MicrophoneMessage(static_cast<MicrophoneState>(i));
    CHECK(sentence.back() == '.' && sentence != "Unknown state.");
    CHECK(std::string(kser::MicrophoneStateName(static_cast<MicrophoneState>(i))) != "unknown");
  }
}

// --- Slots

// 24 bits in the top, amplified by 24 dB: 16 times a 16-bit sample.
std::int32_t Slot(int sample_24) { return sample_24 * 256; }

void SlotsAreAmplifiedAndClipped() {
  kser::I2sSlotConverter converter;
  CHECK(converter.Convert(0) == 0);
  CHECK(converter.Convert(Slot(16000)) == 1000);
  CHECK(converter.Convert(Slot(-16000) + 0xff) == -1000);
  CHECK(converter.Convert(INT32_MAX) == 32767);
  CHECK(converter.Convert(INT32_MIN) == -32768);
}

void AnOffsetIsGoneAtOnceAndADriftSoon() {
  for (const std::int32_t offset : {Slot(420000), Slot(-420000), INT32_MIN, INT32_MAX}) {
    kser::I2sSlotConverter converter;
    for (int i = 0; i < kSecond; ++i) CHECK(converter.Convert(offset) == 0);
    for (int i = 0; i < kSecond; ++i) converter.Convert(offset / 2);
    const int left = converter.Convert(offset / 2);
    CHECK(left >= -300 && left <= 300);
  }
}

void SoundPasses() {
  kser::I2sSlotConverter converter;
  double energy = 0;
  for (int i = 0; i < 2 * kSecond; ++i) {
    const double tone = std::sin(i * 6.283185307179586 * 100 / kSecond);
    const double sample = converter.Convert(Slot(static_cast<int>(420000 + 160000 * tone)));
    if (i >= kSecond) energy += sample * sample / kSecond;
  }
  CHECK(std::fabs(std::sqrt(2 * energy) / 10000 - 1) < 0.01);  // 100 Hz lose less than 1 %.
}

}  // namespace

int main() {
  StatesAreTold();
  ItTakesASecondAndAHalfInAnyPieces();
  TheStartIsNotJudged();
  EveryStateHasAWordAndASentence();
  SlotsAreAmplifiedAndClipped();
  AnOffsetIsGoneAtOnceAndADriftSoon();
  SoundPasses();
  return kser_test::Failures() != 0;
}
