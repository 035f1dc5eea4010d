// A tensor arena in memory of the heap, and how large one a model needs.
#ifndef KSER_HEAP_ARENA_H_
#define KSER_HEAP_ARENA_H_

#include <cstddef>
#include <cstdint>

namespace kser {

// Where TensorFlow Lite Micro may put it.
constexpr std::size_t kArenaAlignment = 16;

class HeapArena {
 public:
  HeapArena() = default;
  ~HeapArena() { Release(); }
  HeapArena(const HeapArena&) = delete;
  HeapArena& operator=(const HeapArena&) = delete;

  // In place of what it had; false, and it has none, where the heap has no such block.
  bool Allocate(std::size_t bytes);
  void Release();

  std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void* block_ = nullptr;
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// The smallest arena, to a 64th, that a model loads in.
//
// Tries arenas of the heap from `bytes` on, each a quarter larger than the last. 0 where the heap ends first; `largest` is
// the last one tried.
//
// load: called with an arena and its size, whether the model loads in it; nothing may use the arena afterwards.
template <typename Load>
std::size_t FindArenaBytes(std::size_t bytes, const Load& load, std::size_t* largest) {
  HeapArena arena;
  for (; arena.Allocate(bytes); bytes += bytes / 4) {
    *largest = bytes;
    if (!load(arena.data(), bytes)) continue;
    const auto smaller = [](std::size_t size) { return (size - size / 64) & ~(kArenaAlignment - 1); };
    while (load(arena.data(), smaller(bytes))) bytes = smaller(bytes);
    return bytes;
  }
  return 0;
}

}  // namespace kser

#endif  // KSER_HEAP_ARENA_H_
