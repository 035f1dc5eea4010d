#include "heap_arena.h"

#include <cstdlib>

namespace kser {

bool HeapArena::Allocate(std::size_t bytes) {
  Release();
  block_ = std::malloc(bytes + kArenaAlignment - 1);
  if (block_ == nullptr) return false;
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(block_);
  data_ = reinterpret_cast<std::uint8_t*>((address + kArenaAlignment - 1) & ~(kArenaAlignment - 1));
  size_ = bytes;
  return true;
}

void HeapArena::Release() {
  std::free(block_);
  block_ = nullptr;
  data_ = nullptr;
  size_ = 0;
}

}  // namespace kser
