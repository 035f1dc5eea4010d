// What tests of generated C++ sources ask of an array: its checksum and its alignment.
#ifndef KSER_TESTS_MICRO_ARRAY_CHECK_H_
#define KSER_TESTS_MICRO_ARRAY_CHECK_H_

#include <cstddef>
#include <cstdint>

namespace kser_test {

// Adler-32 (RFC 1950).
inline std::uint32_t Adler32(const unsigned char* data, std::size_t size) {
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (std::size_t i = 0; i < size; ++i) {
    a = (a + data[i]) % 65521;
    b = (b + a) % 65521;
  }
  return (b << 16) | a;
}

inline bool IsAligned(const void* data, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(data) % alignment == 0;
}

}  // namespace kser_test

#endif  // KSER_TESTS_MICRO_ARRAY_CHECK_H_
