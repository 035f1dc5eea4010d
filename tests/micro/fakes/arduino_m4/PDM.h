// What the sketches use of the PDM library.
#ifndef KSER_TESTS_MICRO_FAKES_PDM_M4_H_
#define KSER_TESTS_MICRO_FAKES_PDM_M4_H_

#include <Arduino.h>

class PDMClass {
 public:
  int begin(int channels, int sample_rate) { return channels == 1 && sample_rate == 16000; }
  int available();
  int read(void* buffer, size_t size);
  void onReceive(void (*function)());
  void setBufferSize(int) {}
};

extern PDMClass PDM;

#endif  // KSER_TESTS_MICRO_FAKES_PDM_M4_H_
