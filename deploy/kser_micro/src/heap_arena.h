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

// How large an arena a model needs, a 64th included, or 0 where the heap has no block that it loads in.
//
// One attempt, in the largest block that the heap has from `least` up to four times that: TensorFlow Lite Micro does not
// survive every arena that is too small, so none is tried that may be. `tried` is that block's size.
//
// load: called with an arena and its size, returns the bytes in use, or 0 where the model does not load; nothing may use the
// arena afterwards.
template <typename Load>
std::size_t FindArenaBytes(std::size_t least, const Load& load, std::size_t* tried) {
  HeapArena arena;
  std::size_t bytes = 4 * least;
  while (bytes >= least && !arena.Allocate(bytes)) bytes -= bytes / 16;
  if (bytes < least) return 0;
  *tried = bytes;
  const std::size_t used = load(arena.data(), bytes);
  return (used + used / 64 + kArenaAlignment - 1) & ~(kArenaAlignment - 1);
}

}  // namespace kser

#endif  // KSER_HEAP_ARENA_H_
