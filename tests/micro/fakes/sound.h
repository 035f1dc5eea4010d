// What a fake board hears: 16-bit samples of a file, over and over; an empty file is a microphone that sends nothing.
#ifndef KSER_TESTS_MICRO_FAKES_SOUND_H_
#define KSER_TESTS_MICRO_FAKES_SOUND_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace kser_test {

constexpr std::uint32_t kSamplesPerMs = 16;

class Sound {
 public:
  explicit Sound(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (file == nullptr) std::exit(2);
    std::int16_t sample;
    while (std::fread(&sample, sizeof(sample), 1, file) == 1) samples_.push_back(sample);
    std::fclose(file);
  }

  bool dead() const { return samples_.empty(); }

  std::int16_t Next() { return samples_[next_++ % samples_.size()]; }

  // As a microphone of 24 bits sends it: with an offset of 5 % of full scale, and nothing of worth in the lowest byte.
  std::int32_t NextSlot() { return Next() * (1 << 12) + (1 << 27) - (1 << 25) + 0x5a; }

 private:
  std::vector<std::int16_t> samples_;
  std::size_t next_ = 0;
};

}  // namespace kser_test

#endif  // KSER_TESTS_MICRO_FAKES_SOUND_H_
