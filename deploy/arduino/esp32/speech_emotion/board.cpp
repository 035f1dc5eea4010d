// ESP32 boards under Espressif's Arduino core 3. The microphone is that of the ESP-IDF project: microphone.cpp.
#include "board.h"

#include <Arduino.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>

#include "pins.h"

void SetUpLed() {
  pinMode(kLedPin, OUTPUT);
  ShowLabel(kser::kSilence);
}

// On while somebody speaks.
void ShowLabel(int label) { digitalWrite(kLedPin, (label != kser::kSilence) == kLedOn ? HIGH : LOW); }

// For a tick, of a millisecond; the microphone's task goes on.
void Sleep() { vTaskDelay(1); }
