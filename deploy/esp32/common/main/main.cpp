// Emotions in speech, from an I2S microphone to the console: a line of JSON for each decision.
#include <cstdio>

#include "application.h"
#include "driver/gpio.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "microphone.h"
#include "pins.h"
#if KSER_SERIAL && CONFIG_ESP_CONSOLE_UART
#include "driver/uart.h"
#endif

static void PrintText(const char* text) {
  std::fputs(text, stdout);
  std::fflush(stdout);
}

static uint32_t Microseconds() { return static_cast<uint32_t>(esp_timer_get_time()); }

// On while somebody speaks.
static void ShowLabel(int label) { gpio_set_level(kLedPin, (label != kser::kSilence) == kLedOn); }

// For a tick. The idle task then halts the core; a running I2S clock allows no deeper sleep.
static void Sleep() { vTaskDelay(1); }

#if KSER_SERIAL
// Sound is 32 kB a second, which the console's usual 115200 baud do not carry.
static void SpeedUpConsole() {
#if CONFIG_ESP_CONSOLE_UART
  uart_set_baudrate(static_cast<uart_port_t>(CONFIG_ESP_CONSOLE_UART_NUM), 921600);
#endif
}

static int ReadByte() { return std::getchar(); }  // EOF is -1

static void WriteByte(uint8_t byte) {
  std::putchar(byte);
  std::fflush(stdout);
}

static kser::Application application({PrintText, Microseconds, ShowLabel, Sleep, ReadByte, WriteByte});
#else
static void SpeedUpConsole() {}

static kser::Application application({PrintText, Microseconds, ShowLabel, Sleep});
#endif

extern "C" void app_main() {
  SpeedUpConsole();
  gpio_reset_pin(kLedPin);
  gpio_set_direction(kLedPin, GPIO_MODE_OUTPUT);
  if (application.SetUp()) application.OnMicrophone(StartMicrophone(&application));
  for (;;) application.Poll();
}
