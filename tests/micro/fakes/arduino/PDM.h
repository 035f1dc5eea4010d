// What the sketches use of the PDM library of the Arduino-mbed cores. It gives less than is asked for now and then, and stops
// when samples are left to wait, as the real one does on an nRF52840.
#ifndef KSER_TESTS_MICRO_FAKES_PDM_H_
#define KSER_TESTS_MICRO_FAKES_PDM_H_

#include <Arduino.h>

#include <vector>

class PDMClass {
 public:
  int begin(int channels, int sample_rate);
  int available();
  int read(void* buffer, size_t size);
  void onReceive(void (*function)());
  void setBufferSize(int bytes);

  // The fake's own: a sample more.
  void Hear(std::int16_t sample);

 private:
  std::vector<std::int16_t> filling_;
  std::vector<std::int16_t> waiting_;
  void (*on_receive_)() = nullptr;
  size_t block_samples_ = 128;
  int reads_ = 0;
  bool running_ = false;
};

extern PDMClass PDM;

#endif  // KSER_TESTS_MICRO_FAKES_PDM_H_
