// What programs that run on this computer and on an emulated board alike need of either.
#ifndef KSER_TESTS_MICRO_MACHINE_H_
#define KSER_TESTS_MICRO_MACHINE_H_

#include <cstdint>

namespace kser_test {

// To standard output.
void Print(const char* text);

// Ticks of a counter that the emulator advances by executed instructions; on this computer always 0.
std::uint32_t Ticks();

inline void PrintNumber(std::uint32_t number) {
  char digits[11];
  char* begin = digits + sizeof(digits) - 1;
  *begin = '\0';
  do {
    *--begin = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  Print(begin);
}

// A line of a name and numbers.
inline void PrintLine(const char* name, const std::uint32_t* numbers, int count) {
  Print(name);
  for (int i = 0; i < count; ++i) {
    Print(" ");
    PrintNumber(numbers[i]);
  }
  Print("\n");
}

inline void PrintLine(const char* name, std::uint32_t number) { PrintLine(name, &number, 1); }

}  // namespace kser_test

#endif  // KSER_TESTS_MICRO_MACHINE_H_
