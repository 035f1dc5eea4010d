// Emotions in speech, from an I2S microphone to the console: a line of JSON for each decision.
#include <cstdio>

#include "application.h"
#include "driver/gpio.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "microphone.h"
#include "pins.h"

static void PrintText(const char* text) {
  std::fputs(text, stdout);
  std::fflush(stdout);
}

static uint32_t Microseconds() { return static_cast<uint32_t>(esp_timer_get_time()); }

// On while somebody speaks.
static void ShowLabel(int label) { gpio_set_level(kLedPin, label != kser::kSilence); }

// For a tick. The idle task then halts the core; a running I2S clock allows no deeper sleep.
static void Sleep() { vTaskDelay(1); }

#if KSER_SERIAL
static int ReadByte() { return std::getchar(); }  // EOF is -1

static void WriteByte(uint8_t byte) {
  std::putchar(byte);
  std::fflush(stdout);
}

static kser::Application application({PrintText, Microseconds, ShowLabel, Sleep, ReadByte, WriteByte});
#else
static kser::Application application({PrintText, Microseconds, ShowLabel, Sleep});
#endif

extern "C" void app_main() {
  gpio_reset_pin(kLedPin);
  gpio_set_direction(kLedPin, GPIO_MODE_OUTPUT);
  const bool is_set_up = application.SetUp();
  if (is_set_up && !KSER_SERIAL && !StartMicrophone(&application)) application.Report("The microphone could not be started.");
  for (;;) application.Poll();
}
