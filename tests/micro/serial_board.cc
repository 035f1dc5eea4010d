// A board in the serial mode, standard input and output being its line: the whole firmware in a real TensorFlow Lite Micro.
// Its arguments are what the microphone hears, a file of 16-bit samples that it repeats, and how many of them it brings for
// each request that is answered; without: it has none.
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kser_micro.h"
#include "kser_model.h"
#include "kser_resolver.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace {

constexpr std::size_t kArenaBytes = 4 << 20;

alignas(16) std::uint8_t arena[kArenaBytes];
kser::EmotionClassifier classifier;
tflite::MicroMutableOpResolver<kser::kNumOps> ops;

bool WaitForInput(int milliseconds) {
  pollfd line = {STDIN_FILENO, POLLIN, 0};
  return poll(&line, 1, milliseconds) > 0;
}

// -1 as on a board; where the line has been closed nobody can ask any more.
int ReadByte() {
  std::uint8_t byte;
  if (!WaitForInput(0)) return -1;
  if (read(STDIN_FILENO, &byte, 1) != 1) _exit(0);
  return byte;
}

void WriteByte(std::uint8_t byte) { std::putchar(byte); }

std::uint32_t Micros() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

std::vector<std::int16_t> ReadSamples(const char* path) {
  std::vector<std::int16_t> samples;
  std::FILE* const file = std::fopen(path, "rb");
  for (std::int16_t sample; std::fread(&sample, sizeof(sample), 1, file) == 1;) samples.push_back(sample);
  std::fclose(file);
  return samples;
}

class Microphone {
 public:
  Microphone(const char* path, int samples_per_request) : samples_(ReadSamples(path)), count_(samples_per_request) {}

  void Run(kser::RingBuffer<4096>* ring) {
    for (int i = 0; i < count_; ++i) ring->Write(&samples_[place_++ % samples_.size()], 1);
  }

 private:
  std::vector<std::int16_t> samples_;
  int count_;
  std::size_t place_ = 0;
};

}  // namespace

int main(int count, char** arguments) {
  const kser::KernelOpResolver own(ops, kser::kModelData);
  const bool ready = kser::RegisterOps(&ops) == kTfLiteOk;
  const kser::Status status = classifier.SetUp(kser::kModelData, own, arena, ready ? kArenaBytes : 0);
  if (status != kser::Status::kOk) std::fprintf(stderr, "%s\n", kser::StatusMessage(status));
  static kser::SerialLink link(&classifier, ReadByte, WriteByte, Micros);
  static kser::RingBuffer<4096> ring;
  static Microphone* microphone = nullptr;
  if (count == 3) {
    microphone = new Microphone(arguments[1], std::atoi(arguments[2]));
    link.SetMicrophone(&ring);
  }
  while (true) {
    if (!link.Poll()) {
      WaitForInput(-1);
    } else if (microphone != nullptr) {
      microphone->Run(&ring);
    }
    std::fflush(stdout);
  }
}
