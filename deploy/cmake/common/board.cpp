// An emulated board (QEMU's mps2-an386 or mps3-an547), which prints by semihosting and hears the golden clip, ten seconds of it.
#include "board.h"

#include <cstdarg>

#include "golden_clip.h"

namespace {

constexpr std::uint32_t kSeconds = 10;
constexpr std::uint32_t kBlockSamples = 160;  // 10 ms

enum SemihostingCall { kWriteCharacter = 0x03, kWriteString = 0x04, kExitExtended = 0x20 };

kser::Application* listener = nullptr;
kser::GoldenClip clip;
std::uint32_t num_samples = 0;

std::intptr_t Semihosting(SemihostingCall call, const void* argument) {
  register std::intptr_t r0 asm("r0") = call;
  register const void* r1 asm("r1") = argument;
  asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

}  // namespace

[[noreturn]] void Exit(std::uint32_t status) {
  constexpr std::uint32_t kApplicationExit = 0x20026;
  const std::uint32_t arguments[] = {kApplicationExit, status};
  for (;;) Semihosting(kExitExtended, arguments);
}

void Print(const char* text) { Semihosting(kWriteString, text); }

int ReadByte() { return -1; }

void WriteByte(std::uint8_t byte) { Semihosting(kWriteCharacter, &byte); }

// Time passes with the sound alone.
std::uint32_t Microseconds() { return num_samples * (1000000u / 16000u) + num_samples / 2u; }

void ShowLabel(int) {}

// The microphone's next block comes.
void Sleep() {
  std::int16_t samples[kBlockSamples];
  for (std::int16_t& sample : samples) sample = clip.Next();
  num_samples += kBlockSamples;
  if (listener != nullptr) listener->OnSamples(samples, kBlockSamples);
  if (num_samples >= kSeconds * kser::kSampleRateHz) Exit(0);
}

bool StartMicrophone(kser::Application* application) {
  listener = application;
  return true;
}

// TensorFlow Lite Micro's messages, which are left out of this build.
extern "C" void DebugLog(const char*, va_list) {}

extern "C" int DebugVsnprintf(char*, std::size_t, const char*, va_list) { return 0; }
