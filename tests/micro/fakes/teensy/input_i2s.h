// The I2S input of PJRC's audio library.
#ifndef KSER_TESTS_MICRO_FAKES_INPUT_I2S_H_
#define KSER_TESTS_MICRO_FAKES_INPUT_I2S_H_

#include "AudioStream.h"

class AudioInputI2S : public AudioStream {
 public:
  AudioInputI2S() : AudioStream(0, nullptr) {}
  void update() override;
};

#endif  // KSER_TESTS_MICRO_FAKES_INPUT_I2S_H_
