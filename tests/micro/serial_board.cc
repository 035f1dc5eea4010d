// A board in the serial mode, standard input and output being its line: the whole firmware in a real TensorFlow Lite Micro.
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>

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

}  // namespace

int main() {
  const kser::KernelOpResolver own(ops, kser::kModelData);
  const bool ready = kser::RegisterOps(&ops) == kTfLiteOk;
  const kser::Status status = classifier.SetUp(kser::kModelData, own, arena, ready ? kArenaBytes : 0);
  if (status != kser::Status::kOk) std::fprintf(stderr, "%s\n", kser::StatusMessage(status));
  static kser::SerialLink link(&classifier, ReadByte, WriteByte, Micros);
  while (true) {
    if (!link.Poll()) WaitForInput(-1);
    std::fflush(stdout);
  }
}
