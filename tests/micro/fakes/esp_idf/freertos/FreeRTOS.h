// What the application uses of FreeRTOS, whose tick is a millisecond.
#ifndef KSER_TESTS_MICRO_FAKES_FREERTOS_H_
#define KSER_TESTS_MICRO_FAKES_FREERTOS_H_

#include <cstdint>

typedef int BaseType_t;
typedef unsigned int UBaseType_t;
typedef std::uint32_t TickType_t;
#define pdPASS 1
#define portMAX_DELAY 0xffffffffu

#endif  // KSER_TESTS_MICRO_FAKES_FREERTOS_H_
