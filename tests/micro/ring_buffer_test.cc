#include "ring_buffer.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "check.h"

namespace {

constexpr std::uint32_t kCapacity = 16;

std::vector<std::int16_t> Count(int begin, int count) {
  std::vector<std::int16_t> samples;
  for (int i = 0; i < count; ++i) samples.push_back(static_cast<std::int16_t>(begin + i));
  return samples;
}

template <std::uint32_t kSize>
void Write(kser::RingBuffer<kSize>* ring, const std::vector<std::int16_t>& samples) {
  ring->Write(samples.data(), static_cast<std::uint32_t>(samples.size()));
}

template <std::uint32_t kSize>
std::vector<std::int16_t> Read(kser::RingBuffer<kSize>* ring, std::uint32_t count) {
  std::vector<std::int16_t> samples(count);
  if (!ring->Read(samples.data(), count)) samples.clear();
  return samples;
}

void SamplesComeOutAsTheyWentIn() {
  kser::RingBuffer<kCapacity> ring;
  CHECK(ring.Available() == 0);
  Write(&ring, Count(0, 5));
  Write(&ring, Count(5, 6));
  CHECK(ring.Available() == 11);
  CHECK(Read(&ring, 3) == Count(0, 3));
  CHECK(Read(&ring, 8) == Count(3, 8));
  CHECK(ring.Available() == 0);
}

void ItHoldsItsCapacityAndMovesAround() {
  kser::RingBuffer<kCapacity> ring;
  for (int begin = 0; begin < 200; begin += kCapacity) {
    Write(&ring, Count(begin, kCapacity));
    CHECK(ring.Available() == kCapacity);
    CHECK(Read(&ring, 7) == Count(begin, 7));
    CHECK(Read(&ring, 9) == Count(begin + 7, 9));
  }
  CHECK(ring.lost_samples() == 0);
}

void AShortReadTakesNothing() {
  kser::RingBuffer<kCapacity> ring;
  Write(&ring, Count(0, 4));
  std::int16_t samples[5] = {-1, -1, -1, -1, -1};
  CHECK(!ring.Read(samples, 5));
  CHECK(samples[0] == -1);
  CHECK(ring.Available() == 4);
  CHECK(Read(&ring, 4) == Count(0, 4));
}

void AnOverrunIsCountedAndNothingSpansIt() {
  kser::RingBuffer<kCapacity> ring;
  Write(&ring, Count(0, 10));
  Write(&ring, Count(10, 7));
  CHECK(ring.overruns() == 1);
  CHECK(ring.lost_samples() == 7);
  CHECK(Read(&ring, 10) == Count(0, 10));
  Write(&ring, Count(17, 2));  // There is room again, but these would join what was before the gap.
  CHECK(ring.Available() == 0);
  CHECK(ring.overruns() == 1);
  CHECK(ring.lost_samples() == 9);
  CHECK(ring.Recover());
  CHECK(!ring.Recover());
  Write(&ring, Count(19, 3));
  CHECK(Read(&ring, 3) == Count(19, 3));
  CHECK(ring.sample_count() == 22);
}

void WhatWaitsBeforeAGapIsDiscardedByRecover() {
  kser::RingBuffer<kCapacity> ring;
  Write(&ring, Count(0, 16));
  Write(&ring, Count(16, 1));
  CHECK(ring.Recover());
  CHECK(ring.Available() == 0);
  Write(&ring, Count(17, 16));
  CHECK(Read(&ring, 16) == Count(17, 16));
}

void CountersWrapAt2To32() {
  kser::RingBuffer<kCapacity> ring(0xfffffff9u);
  for (int begin = 0; begin < 60; begin += 6) {
    Write(&ring, Count(begin, 6));
    CHECK(ring.Available() == 6);
    CHECK(Read(&ring, 6) == Count(begin, 6));
  }
  CHECK(ring.sample_count() == 60 - 7);
  CHECK(ring.lost_samples() == 0);
}

void AnOverrunAcrossTheWrapIsCounted() {
  kser::RingBuffer<kCapacity> ring(0xfffffffcu);
  Write(&ring, Count(0, 12));
  Write(&ring, Count(12, 12));
  CHECK(ring.lost_samples() == 12);
  CHECK(ring.sample_count() == 24 - 4);
  CHECK(ring.Recover());
  Write(&ring, Count(24, 5));
  CHECK(Read(&ring, 5) == Count(24, 5));
}

// Whatever the threads do, a run between two overruns is whole: samples are numbered and must follow one another.
void TwoThreadsSeeNoTornRun() {
  constexpr int kBlocks = 40000;
  constexpr int kBlock = 5;
  kser::RingBuffer<64> ring(0xffff0000u);
  std::atomic<bool> done{false};
  std::thread producer([&] {
    for (int i = 0; i < kBlocks; ++i) Write(&ring, Count(i * kBlock, kBlock));
    done = true;
  });
  std::uint32_t taken = 0;
  std::uint16_t expected = 0;
  bool follows = false;
  while (!done || ring.Available() > 0) {
    if (ring.Recover()) follows = false;
    const std::vector<std::int16_t> samples = Read(&ring, kBlock);
    if (samples.empty()) continue;
    CHECK(!follows || static_cast<std::uint16_t>(samples.front()) == expected);
    CHECK(samples == Count(samples.front(), kBlock));
    expected = static_cast<std::uint16_t>(samples.back() + 1);
    follows = true;
    taken += kBlock;
  }
  producer.join();
  CHECK(taken > 0);
  CHECK(taken + ring.lost_samples() <= kBlocks * kBlock);
  CHECK(ring.sample_count() == 0xffff0000u + kBlocks * kBlock);
}

}  // namespace

int main() {
  SamplesComeOutAsTheyWentIn();
  ItHoldsItsCapacityAndMovesAround();
  AShortReadTakesNothing();
  AnOverrunIsCountedAndNothingSpansIt();
  WhatWaitsBeforeAGapIsDiscardedByRecover();
  CountersWrapAt2To32();
  AnOverrunAcrossTheWrapIsCounted();
  TwoThreadsSeeNoTornRun();
  return kser_test::Failures() != 0;
}
