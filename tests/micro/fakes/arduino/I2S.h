// What the sketches use of the I2S library of Earle Philhower's core for the RP2040.
#ifndef KSER_TESTS_MICRO_FAKES_I2S_H_
#define KSER_TESTS_MICRO_FAKES_I2S_H_

#include <Arduino.h>

class I2S {
 public:
  explicit I2S(PinMode direction);
  bool setDATA(unsigned pin);
  bool setBCLK(unsigned pin);
  bool setBitsPerSample(int bits);
  bool begin(long sample_rate);
  bool read32(std::int32_t* left, std::int32_t* right);

 private:
  bool ready_ = false;
  bool running_ = false;
};

#endif  // KSER_TESTS_MICRO_FAKES_I2S_H_
