// Teensy 4.0 and 4.1 with an I2S microphone, by PJRC's audio library.
#include "board.h"

#include <Arduino.h>
#include <AudioStream.h>
#include <input_i2s.h>

#include "src/kser_micro/i2s_slot.h"

// The library is compiled apart, so a definition in the sketch would not reach it.
static_assert(static_cast<int>(AUDIO_SAMPLE_RATE_EXACT) == kser::kSampleRateHz,
              "Compile everything with -DAUDIO_SAMPLE_RATE_EXACT=16000.0f: README.md says how.");

// Passes on what the library brings, in its interrupt: 128 samples, 8 ms.
class Listener : public AudioStream {
 public:
  Listener() : AudioStream(1, inputs_) {}

  void update() override {
    audio_block_t* const block = receiveReadOnly();
    if (block == nullptr) return;
    int16_t samples[AUDIO_BLOCK_SAMPLES];
    // The upper 16 of 24 bits.
    for (int i = 0; i < AUDIO_BLOCK_SAMPLES; ++i) samples[i] = converter_.Convert(static_cast<int32_t>(block->data[i]) * 65536);
    release(block);
    if (application != nullptr) application->OnSamples(samples, AUDIO_BLOCK_SAMPLES);
  }

  kser::Application* volatile application = nullptr;

 private:
  audio_block_t* inputs_[1];
  kser::I2sSlotConverter converter_;
};

static AudioInputI2S microphone;
static Listener listener;
static AudioConnection connection(microphone, 0, listener, 0);

bool StartMicrophone(kser::Application* application) {
  AudioMemory(8);
  listener.application = application;
  return true;
}

void SetUpLed() {
  pinMode(LED_BUILTIN, OUTPUT);
  ShowLabel(kser::kSilence);
}

// On while somebody speaks.
void ShowLabel(int label) { digitalWrite(LED_BUILTIN, label == kser::kSilence ? LOW : HIGH); }

void Sleep() { asm volatile("wfi"); }
