// The board's own microphone and LED.
#ifndef PINS_H_
#define PINS_H_

#include "driver/gpio.h"

#define KSER_PDM 1  // The microphone is one of PDM.

constexpr gpio_num_t kClockPin = GPIO_NUM_42;
constexpr gpio_num_t kDataPin = GPIO_NUM_41;
constexpr gpio_num_t kLedPin = GPIO_NUM_21;
constexpr bool kLedOn = false;  // It lights up at a low level.

#endif  // PINS_H_
