// What the application uses of ESP-IDF's timer.
#ifndef KSER_TESTS_MICRO_FAKES_ESP_TIMER_H_
#define KSER_TESTS_MICRO_FAKES_ESP_TIMER_H_

#include <cstdint>

std::int64_t esp_timer_get_time();

#endif  // KSER_TESTS_MICRO_FAKES_ESP_TIMER_H_
