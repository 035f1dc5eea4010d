// Wires of the microphone and the LED; change them here.
#ifndef PINS_H_
#define PINS_H_

#include "driver/gpio.h"

#define KSER_PDM 0  // The microphone is one of I2S.

constexpr gpio_num_t kBitClockPin = GPIO_NUM_26;   // SCK, BCLK
constexpr gpio_num_t kWordClockPin = GPIO_NUM_25;  // WS, LRCL
constexpr gpio_num_t kDataPin = GPIO_NUM_33;       // SD, DOUT
constexpr gpio_num_t kLedPin = GPIO_NUM_2;
constexpr bool kLedOn = true;

#endif  // PINS_H_
