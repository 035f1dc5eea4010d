// Runs a sketch for KSER_SECONDS of the golden clip and what would follow it, and prints how much stack it has used. From the
// second KSER_SILENT_FROM on nothing sounds. After each second it prints what was executed in it beside what the fake does.
#include <Arduino.h>
#include <PDM.h>

#include <cstring>

#include "golden_clip.h"
#include "machine.h"

void setup();
void loop();

extern "C" {
extern std::uint32_t kser_stack_top[];
void* __dso_handle;  // Of what is destroyed at the end, which on a board never comes.
}

namespace {

#ifndef KSER_SILENT_FROM
#define KSER_SILENT_FROM KSER_SECONDS
#endif

constexpr std::uint32_t kBlockSamples = 256;
constexpr std::uint32_t kSecondSamples = 16000;
constexpr std::uint32_t kPainted = 0xc0ffee00;
constexpr std::uint32_t kPaintedWords = 0x4000;

void (*on_receive)();
std::uint32_t num_samples;
std::uint32_t waiting;
kser::GoldenClip clip;

// Ticks since the counter was read, which counts down in 24 bits.
std::uint32_t Since(std::uint32_t ticks) { return (kser_test::Ticks() - ticks) & 0xffffff; }

std::uint32_t ticks_of_fake;

void Listen() {
  num_samples += kBlockSamples;
  waiting = on_receive != nullptr ? kBlockSamples : 0;
  if (waiting != 0) on_receive();
}

std::uint32_t* StackBottom() { return kser_stack_top - kPaintedWords; }

// All below this function's own frame, with some room.
__attribute__((noinline)) void PaintStack() {
  std::uint32_t* const here = static_cast<std::uint32_t*>(__builtin_frame_address(0)) - 64;
  for (std::uint32_t* word = StackBottom(); word < here; ++word) *word = kPainted;
}

std::uint32_t UsedStack() {
  const std::uint32_t* word = StackBottom();
  while (*word == kPainted) ++word;
  return static_cast<std::uint32_t>(kser_stack_top - word) * sizeof(*word);
}

}  // namespace

FakeSerial Serial;
PDMClass PDM;

void __WFI() {
  const std::uint32_t begin = kser_test::Ticks();
  Listen();
  ticks_of_fake += Since(begin);
}

unsigned long micros() { return num_samples * 125 / 2; }
unsigned long millis() { return micros() / 1000; }

size_t FakeSerial::print(const char* text) {
  kser_test::Print(text);
  return std::strlen(text);
}

int PDMClass::available() { return static_cast<int>(waiting * sizeof(std::int16_t)); }
int PDMClass::read(void* buffer, size_t) {
  auto* const samples = static_cast<std::int16_t*>(buffer);
  const bool sounds = num_samples <= KSER_SILENT_FROM * kSecondSamples;
  for (std::uint32_t i = 0; i < kBlockSamples; ++i) samples[i] = sounds ? clip.Next() : 0;
  waiting = 0;
  return kBlockSamples * sizeof(std::int16_t);
}
void PDMClass::onReceive(void (*function)()) { on_receive = function; }

int main() {
  PaintStack();
  setup();
  std::uint32_t ticks = 0;
  for (std::uint32_t second = 1; num_samples < KSER_SECONDS * kSecondSamples;) {
    const std::uint32_t begin = kser_test::Ticks();
    ticks_of_fake = 0;
    loop();
    ticks += Since(begin) - ticks_of_fake;
    if (num_samples < second * kSecondSamples) continue;
    kser_test::PrintLine("second", ticks);
    ticks = 0;
    ++second;
  }
  kser_test::PrintLine("stack", UsedStack());
  return 0;
}
