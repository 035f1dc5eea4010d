// Samples from an interrupt to the loop.
#ifndef KSER_RING_BUFFER_H_
#define KSER_RING_BUFFER_H_

#include <atomic>
#include <cstdint>

namespace kser {

// A queue of 16-bit samples with one producer, which may be an interrupt or run on another core, and one consumer.
//
// Where the producer finds too little room it drops its samples and all that follow, counting them, until the consumer
// has called Recover: what Read returns never spans a gap. Counters wrap at 2^32, which changes nothing, for only
// differences of them count and kCapacity divides 2^32. Atomic loads and stores alone are used: Armv6-M has no more.
template <std::uint32_t kCapacity>
class RingBuffer {
  static_assert(kCapacity != 0 && (kCapacity & (kCapacity - 1)) == 0, "kCapacity must be a power of two");

 public:
  // first_sample: where counting begins.
  explicit RingBuffer(std::uint32_t first_sample = 0) : write_(first_sample), read_(first_sample) {}
  RingBuffer(const RingBuffer&) = delete;
  RingBuffer& operator=(const RingBuffer&) = delete;

  // Producer: appends all samples or, without room for all, none.
  void Write(const std::int16_t* samples, std::uint32_t count) {
    const std::uint32_t begin = write_.load(std::memory_order_relaxed);
    const bool stopped = stopped_.load(std::memory_order_acquire);
    if (stopped || count > kCapacity - (begin - read_.load(std::memory_order_acquire))) {
      Drop(count, !stopped);
      return;
    }
    for (std::uint32_t i = 0; i < count; ++i) samples_[(begin + i) & kMask] = samples[i];
    write_.store(begin + count, std::memory_order_release);
  }

  // Consumer: samples that wait.
  std::uint32_t Available() const {
    return write_.load(std::memory_order_acquire) - read_.load(std::memory_order_relaxed);
  }

  // Consumer: takes the oldest samples; false, and none taken, where fewer wait.
  bool Read(std::int16_t* samples, std::uint32_t count) {
    if (Available() < count) return false;
    const std::uint32_t begin = read_.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < count; ++i) samples[i] = samples_[(begin + i) & kMask];
    read_.store(begin + count, std::memory_order_release);
    return true;
  }

  // Consumer: takes the oldest samples, at most so many; returns how many.
  std::uint32_t ReadUpTo(std::int16_t* samples, std::uint32_t most) {
    const std::uint32_t waiting = Available();
    const std::uint32_t count = waiting < most ? waiting : most;
    Read(samples, count);
    return count;
  }

  // Consumer: after an overrun, discards what waits and lets the producer go on; returns whether there was one.
  bool Recover() {
    if (!stopped_.load(std::memory_order_acquire)) return false;
    read_.store(write_.load(std::memory_order_acquire), std::memory_order_release);
    stopped_.store(false, std::memory_order_release);
    return true;
  }

  // Samples the producer has brought since first_sample, lost ones included, modulo 2^32: the time in samples.
  std::uint32_t sample_count() const {
    return write_.load(std::memory_order_relaxed) + lost_.load(std::memory_order_relaxed);
  }
  // Of these, samples that were read or discarded; neither those that wait nor lost ones.
  std::uint32_t read_count() const { return read_.load(std::memory_order_relaxed); }
  std::uint32_t lost_samples() const { return lost_.load(std::memory_order_relaxed); }
  std::uint32_t overruns() const { return overruns_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint32_t kMask = kCapacity - 1;

  void Drop(std::uint32_t count, bool first) {
    lost_.store(lost_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
    if (!first) return;
    overruns_.store(overruns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    stopped_.store(true, std::memory_order_release);
  }

  std::int16_t samples_[kCapacity];
  std::atomic<std::uint32_t> write_;
  std::atomic<std::uint32_t> read_;
  std::atomic<std::uint32_t> lost_{0};
  std::atomic<std::uint32_t> overruns_{0};
  std::atomic<bool> stopped_{false};
};

}  // namespace kser

#endif  // KSER_RING_BUFFER_H_
