// Runs an application of ESP-IDF: `application SOUND SECONDS STALL_MS`. Half way a pause of the main task takes STALL_MS.
//
// The task that captures is a thread, and time passes in vTaskDelay alone, which returns when that thread waits again.
#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "../sound.h"
#include "driver/gpio.h"
#include "driver/i2s_std.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

extern "C" void app_main();

namespace {

kser_test::Sound* sound;
std::uint32_t end_ms, stall_ms, now_ms;
std::mutex mutex;
std::condition_variable changed;
std::size_t heard;      // Samples that wait in the driver.
bool waiting = true;    // Whether the task that captures can do nothing.
bool enabled, std_mode;
int reads;

void PassMillisecond() {
  std::unique_lock<std::mutex> lock(mutex);
  ++now_ms;
  if (!enabled || sound->dead()) return;
  heard += kser_test::kSamplesPerMs;
  waiting = false;
  changed.notify_all();
  changed.wait(lock, [] { return waiting; });
}

}  // namespace

esp_err_t gpio_reset_pin(gpio_num_t) { return ESP_OK; }
esp_err_t gpio_set_direction(gpio_num_t, gpio_mode_t) { return ESP_OK; }
esp_err_t gpio_set_level(gpio_num_t pin, std::uint32_t level) {
  std::fprintf(stderr, "pin %d %s\n", pin, level == 0 ? "low" : "high");
  return ESP_OK;
}

std::int64_t esp_timer_get_time() { return std::int64_t{1000} * now_ms; }

esp_err_t i2s_new_channel(const i2s_chan_config_t*, i2s_chan_handle_t*, i2s_chan_handle_t* receive) {
  *receive = nullptr;
  return ESP_OK;
}
esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t, const i2s_std_config_t* config) {
  std_mode = config->clk_cfg.sample_rate_hz == 16000 && config->slot_cfg.slot_mask == I2S_STD_SLOT_LEFT;
  return std_mode ? ESP_OK : -1;
}
esp_err_t i2s_channel_enable(i2s_chan_handle_t) {
  enabled = std_mode;
  return ESP_OK;
}
esp_err_t i2s_channel_read(i2s_chan_handle_t, void* buffer, std::size_t size, std::size_t* bytes, std::uint32_t) {
  std::size_t count = size / sizeof(std::int32_t);
  const bool in_vain = ++reads % 5 == 0;
  if (in_vain) count = 37;
  std::unique_lock<std::mutex> lock(mutex);
  while (heard < count) {
    waiting = true;
    changed.notify_all();
    changed.wait(lock, [] { return !waiting; });
  }
  heard -= count;
  for (std::size_t i = 0; i < count; ++i) static_cast<std::int32_t*>(buffer)[i] = sound->NextSlot();
  *bytes = count * sizeof(std::int32_t);
  return in_vain ? ESP_ERR_TIMEOUT : ESP_OK;
}

BaseType_t xTaskCreate(TaskFunction_t function, const char*, std::uint32_t, void* argument, UBaseType_t, TaskHandle_t*) {
  waiting = false;
  std::thread(function, argument).detach();
  return pdPASS;
}

void vTaskDelay(TickType_t ticks) {
  if (now_ms > end_ms / 2) ticks += stall_ms, stall_ms = 0;
  for (; ticks > 0; --ticks) PassMillisecond();
  if (now_ms < end_ms) return;
  std::fflush(nullptr);
  std::_Exit(0);
}

int main(int, char** arguments) {
  static kser_test::Sound own(arguments[1]);
  sound = &own;
  end_ms = static_cast<std::uint32_t>(std::strtoul(arguments[2], nullptr, 10)) * 1000;
  stall_ms = static_cast<std::uint32_t>(std::strtoul(arguments[3], nullptr, 10));
  app_main();
}
