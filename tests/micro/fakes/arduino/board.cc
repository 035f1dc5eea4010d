// Runs a sketch: `sketch SOUND SECONDS STALL_MS`. Half way the loop is kept busy for STALL_MS while the microphone goes on.
#include <Arduino.h>
#include <I2S.h>
#include <PDM.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "../sound.h"

void setup();
void loop();
// Those of the second core, where a sketch has them.
__attribute__((weak)) void setup1();
__attribute__((weak)) void loop1();

namespace {

constexpr std::uint32_t kStepSamples = 64;

kser_test::Sound* sound;
std::uint64_t now;  // In samples.

void Listen(std::uint64_t end) {
  for (; now < end; now += kStepSamples) {
    if (loop1) loop1();
    for (std::uint32_t i = 0; !loop1 && i < kStepSamples && !sound->dead(); ++i) PDM.Hear(sound->Next());
  }
}

}  // namespace

FakeSerial Serial;
PDMClass PDM;

void __WFI() { Listen(now + kStepSamples); }

unsigned long micros() { return static_cast<std::uint32_t>(now * 1000 / kser_test::kSamplesPerMs); }
unsigned long millis() { return micros() / 1000; }

void pinMode(int, PinMode) {}
void digitalWrite(int pin, PinLevel level) { std::fprintf(stderr, "pin %d %s\n", pin, level == LOW ? "low" : "high"); }

void FakeSerial::begin(unsigned long) {}
FakeSerial::operator bool() const { return true; }
size_t FakeSerial::print(const char* text) { return std::fwrite(text, 1, std::strlen(text), stdout); }
size_t FakeSerial::write(std::uint8_t byte) { return std::fwrite(&byte, 1, 1, stdout); }
int FakeSerial::read() { return -1; }

int PDMClass::begin(int channels, int sample_rate) {
  running_ = channels == 1 && sample_rate == 16000;
  return running_;
}
int PDMClass::available() { return static_cast<int>(waiting_.size() * sizeof(std::int16_t)); }
int PDMClass::read(void* buffer, size_t size) {
  size_t count = std::min(waiting_.size(), size / sizeof(std::int16_t));
  if (++reads_ % 5 == 0) count = std::min<size_t>(count, 77);
  std::memcpy(buffer, waiting_.data(), count * sizeof(std::int16_t));
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<long>(count));
  return static_cast<int>(count * sizeof(std::int16_t));
}
void PDMClass::onReceive(void (*function)()) { on_receive_ = function; }
void PDMClass::setBufferSize(int bytes) { block_samples_ = static_cast<size_t>(bytes) / sizeof(std::int16_t); }
void PDMClass::Hear(std::int16_t sample) {
  if (!running_) return;
  filling_.push_back(sample);
  if (filling_.size() < block_samples_) return;
  running_ = waiting_.empty();
  waiting_.swap(filling_);
  filling_.clear();
  if (on_receive_) on_receive_();
}

I2S::I2S(PinMode direction) : ready_(direction == INPUT) {}
bool I2S::setDATA(unsigned) { return true; }
bool I2S::setBCLK(unsigned) { return true; }
bool I2S::setBitsPerSample(int bits) {
  ready_ = ready_ && bits == 32;
  return ready_;
}
bool I2S::begin(long sample_rate) {
  running_ = ready_ && sample_rate == 16000;
  return running_;
}
bool I2S::read32(std::int32_t* left, std::int32_t* right) {
  if (!running_ || sound->dead()) return false;
  *left = sound->NextSlot();
  *right = 0;
  return true;
}

int main(int, char** arguments) {
  kser_test::Sound own(arguments[1]);
  sound = &own;
  const std::uint64_t end = std::strtoull(arguments[2], nullptr, 10) * 1000 * kser_test::kSamplesPerMs;
  std::uint64_t stall = std::strtoull(arguments[3], nullptr, 10) * kser_test::kSamplesPerMs;
  if (setup1) setup1();
  setup();
  while (now <= end) {
    if (now > end / 2) Listen(now + stall), stall = 0;
    loop();
  }
}
