// Boards of the Arduino-mbed cores with a PDM microphone.
#include "board.h"

#include <Arduino.h>
#include <PDM.h>

static kser::Application* listener = nullptr;
static int16_t block[256];  // 16 ms

// A Nicla Vision's library fills blocks of 32 ms. Given less it takes new memory when it begins, and goes on writing to the old.
#if defined(ARDUINO_NICLA_VISION)
constexpr int kBufferBytes = 2 * sizeof(block);
#else
constexpr int kBufferBytes = sizeof(block);
#endif

// The library's interrupt. What waits must be taken at once: on an nRF52840 the library stops when its next block finds some.
static void OnPdm() {
  while (PDM.available() > 0) {
    const int bytes = PDM.read(block, sizeof(block));
    if (bytes <= 0) return;
    listener->OnSamples(block, bytes / sizeof(block[0]));
  }
}

bool StartMicrophone(kser::Application* application) {
  listener = application;
  PDM.onReceive(OnPdm);
  PDM.setBufferSize(kBufferBytes);
  return PDM.begin(1, kser::kSampleRateHz) == 1;
}

#if defined(ARDUINO_NANO_RP2040_CONNECT)

// The LED of three colours hangs on the radio, whose library takes much memory.
void SetUpLed() {
  pinMode(LED_BUILTIN, OUTPUT);
  ShowLabel(kser::kSilence);
}

// On while somebody speaks.
void ShowLabel(int label) { digitalWrite(LED_BUILTIN, label == kser::kSilence ? LOW : HIGH); }

#else

void SetUpLed() {
  pinMode(LEDR, OUTPUT);
  pinMode(LEDG, OUTPUT);
  pinMode(LEDB, OUTPUT);
  ShowLabel(kser::kSilence);
}

// Off in silence, else a colour for each label. The LEDs light up at a low level.
void ShowLabel(int label) {
  const int colour = label == kser::kSilence ? 0 : 1 + label % 7;
  digitalWrite(LEDR, colour & 1 ? LOW : HIGH);
  digitalWrite(LEDG, colour & 2 ? LOW : HIGH);
  digitalWrite(LEDB, colour & 4 ? LOW : HIGH);
}

#endif

void Sleep() { __WFI(); }
