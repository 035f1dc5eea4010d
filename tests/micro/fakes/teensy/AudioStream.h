// What the sketch uses of PJRC's audio library.
#ifndef KSER_TESTS_MICRO_FAKES_AUDIO_STREAM_H_
#define KSER_TESTS_MICRO_FAKES_AUDIO_STREAM_H_

#include <cstdint>

#define AUDIO_BLOCK_SAMPLES 128
#define AUDIO_SAMPLE_RATE_EXACT 16000.0f
#define AudioMemory(blocks) static_cast<void>(blocks)

struct audio_block_t {
  std::int16_t data[AUDIO_BLOCK_SAMPLES];
};

class AudioStream {
 public:
  AudioStream(unsigned char inputs, audio_block_t** queue);
  virtual ~AudioStream() = default;
  virtual void update() = 0;

 protected:
  audio_block_t* receiveReadOnly(unsigned int index = 0);
  static void release(audio_block_t* block);
};

class AudioConnection {
 public:
  AudioConnection(AudioStream& source, unsigned char output, AudioStream& target, unsigned char input);
};

#endif  // KSER_TESTS_MICRO_FAKES_AUDIO_STREAM_H_
