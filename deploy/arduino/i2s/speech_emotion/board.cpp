// Raspberry Pi Pico and Pico 2 under the core of Earle Philhower, with an I2S microphone. The second core does nothing but listen.
#include "board.h"

#include <Arduino.h>
#include <I2S.h>
#include <hardware/sync.h>

#include <atomic>

#include "src/kser_micro/i2s_slot.h"

// Wires. The word clock is the pin after the bit clock's.
constexpr int kDataPin = 18;
constexpr int kBitClockPin = 20;

constexpr uint32_t kBlockSamples = 64;  // 4 ms

static I2S microphone(INPUT);
static kser::I2sSlotConverter converter;
static std::atomic<kser::Application*> listener{nullptr};

// The driver's interrupt is of the core that begins: here the one that reads.
void setup1() {
  microphone.setDATA(kDataPin);
  microphone.setBCLK(kBitClockPin);
  microphone.setBitsPerSample(32);
  microphone.begin(kser::kSampleRateHz);
}

void loop1() {
  int16_t samples[kBlockSamples];
  uint32_t count = 0;
  int32_t left, right;
  while (count < kBlockSamples && microphone.read32(&left, &right)) samples[count++] = converter.Convert(left);
  kser::Application* const application = listener.load(std::memory_order_acquire);
  if (application != nullptr) application->OnSamples(samples, count);
  __sev();
}

bool StartMicrophone(kser::Application* application) {
  listener.store(application, std::memory_order_release);
  return true;
}

void SetUpLed() {
  pinMode(LED_BUILTIN, OUTPUT);
  ShowLabel(kser::kSilence);
}

// On while somebody speaks.
void ShowLabel(int label) { digitalWrite(LED_BUILTIN, label == kser::kSilence ? LOW : HIGH); }

// Until the second core has passed samples on.
void Sleep() { __wfe(); }
