// A PC at the serial line (bin/board): it sends samples in place of the microphone's, or asks for what the microphone hears;
// features, scores and times go back.
//
// The PC asks and the board answers, in the frames of serial_frame.h. The PC sends nothing more before it has the answer: no
// more than one block of samples is under way, whatever the speed of line and board. An answer has the type and sequence of its
// request. A request that comes again, its answer having been lost, is answered as before and not done twice.
#ifndef KSER_SERIAL_LINK_H_
#define KSER_SERIAL_LINK_H_

#include <cstdint>

#include "emotion_classifier.h"
#include "kser_settings.h"
#include "ring_buffer.h"
#include "serial_frame.h"

namespace kser {

constexpr char kVersion[] = "0.2.0";

constexpr std::uint32_t PowerOfTwoFrom(std::uint32_t least, std::uint32_t power = 1) {
  return power >= least ? power : PowerOfTwoFrom(least, 2 * power);
}

class SerialLink {
 public:
  // The next byte that has come, or -1 where none waits.
  using ReadByte = int (*)();
  using WriteByte = void (*)(std::uint8_t byte);
  // Microseconds, modulo 2^32.
  using ReadClock = std::uint32_t (*)();

  // The classifier, which must outlive this, hears what the PC sends, or what it takes from the microphone.
  SerialLink(EmotionClassifier* classifier, ReadByte read, WriteByte write, ReadClock clock)
      : classifier_(classifier), read_(read), write_(write), clock_(clock) {}
  SerialLink(const SerialLink&) = delete;
  SerialLink& operator=(const SerialLink&) = delete;

  // Where the microphone's samples wait. Without one the PC is told that there is none.
  template <std::uint32_t kCapacity>
  void SetMicrophone(RingBuffer<kCapacity>* ring) {
    microphone_ = ring;
    take_ = [](void* microphone, std::int16_t* samples, std::uint32_t most, std::uint32_t* lost) {
      auto* const ring = static_cast<RingBuffer<kCapacity>*>(microphone);
      if (ring->Recover()) *lost = ring->lost_samples();
      const std::uint32_t count = ring->ReadUpTo(samples, most);
      return Heard{ring->read_count() + *lost - count, count};
    };
  }

  // Takes bytes until none waits or a request is answered; returns whether one was.
  bool Poll();

 private:
  static constexpr int kBlockSamples = kMaxPayloadBytes / 2;

  // Samples of the microphone: the first one's place among all it has brought, lost ones included, and how many.
  struct Heard {
    std::uint32_t first;
    std::uint32_t count;
  };
  using Take = Heard (*)(void* microphone, std::int16_t* samples, std::uint32_t most, std::uint32_t* lost);

  void Answer();
  void Do();
  void Refuse(std::uint8_t reason, const char* sentence);
  bool Refused(Status status);

  void Hello();
  void Reset();
  void Forget();
  void TakeSamples();
  void Decide();
  void SendFeatures();
  void TakeInput();
  void Classify();
  void SendHeard();

  EmotionClassifier* classifier_;
  ReadByte read_;
  WriteByte write_;
  ReadClock clock_;
  void* microphone_ = nullptr;
  Take take_ = nullptr;
  std::uint32_t microphone_lost_ = 0;  // Samples that the microphone's ring had no room for, before those that wait.
  std::uint32_t next_heard_ = 0;       // The place of the sample after the last one sent.
  // Holds a block, and what is left of those before: less than a window.
  RingBuffer<PowerOfTwoFrom(kWindowSamples + kBlockSamples)> ring_;
  std::int8_t values_[kWindowValues];  // The input of the last decision, or the one the PC gave.
  FrameReader request_;
  FrameWriter answer_;
  std::uint32_t first_sample_ = 0;  // The ring's count at the last Reset.
  std::uint8_t last_type_ = 0;
  std::uint8_t last_sequence_ = 0;
  bool greeted_ = false;
};

}  // namespace kser

#endif  // KSER_SERIAL_LINK_H_
