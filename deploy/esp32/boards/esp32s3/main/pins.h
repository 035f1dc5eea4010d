// Wires of the microphone and the LED; change them here.
#ifndef PINS_H_
#define PINS_H_

#include "driver/gpio.h"

#define KSER_PDM 0  // The microphone is one of I2S.

constexpr gpio_num_t kBitClockPin = GPIO_NUM_5;   // SCK, BCLK
constexpr gpio_num_t kWordClockPin = GPIO_NUM_6;  // WS, LRCL
constexpr gpio_num_t kDataPin = GPIO_NUM_4;       // SD, DOUT
constexpr gpio_num_t kLedPin = GPIO_NUM_7;
constexpr bool kLedOn = true;

#endif  // PINS_H_
