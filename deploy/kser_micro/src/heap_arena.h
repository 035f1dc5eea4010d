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

// The smallest arena, to a 64th, that a model loads in, where `bytes` were too few; 0 where the heap has no room for it.
//
// The first try is a large arena: where one is far too small, TensorFlow Lite Micro crashes in its kernels' Prepare.
//
// load: called with an arena and its size; the bytes that the model then uses, 0 where it does not load. Nothing may use the
// arena afterwards.
// largest: the largest arena tried.
template <typename Load>
std::size_t FindArenaBytes(std::size_t bytes, const Load& load, std::size_t* largest) {
  HeapArena arena;
  std::size_t size = 4 * bytes;
  while (size > bytes && !arena.Allocate(size)) size -= size / 8;
  if (size <= bytes) return 0;
  *largest = size;
  const std::size_t used = load(arena.data(), size);
  if (used == 0) return 0;
  // Planning can take more than is used in the end.
  std::size_t needed = (used + kArenaAlignment - 1) & ~(kArenaAlignment - 1);
  while (needed < size && load(arena.data(), needed) == 0) needed += (needed / 64 + kArenaAlignment) & ~(kArenaAlignment - 1);
  return needed < size ? needed : size;
}

}  // namespace kser

#endif  // KSER_HEAP_ARENA_H_
