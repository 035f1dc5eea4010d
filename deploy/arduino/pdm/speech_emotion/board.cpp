// Boards of the Arduino-mbed cores with a PDM microphone and a LED of three colours.
#include "board.h"

#include <Arduino.h>
#include <PDM.h>

static kser::Application* listener = nullptr;
static int16_t block[256];  // 16 ms

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
  PDM.setBufferSize(sizeof(block));
  return PDM.begin(1, kser::kSampleRateHz) == 1;
}

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

void Sleep() { __WFI(); }
