#include <cstdio>

#include "machine.h"

namespace kser_test {

void Print(const char* text) { std::fputs(text, stdout); }

std::uint32_t Ticks() { return 0; }

}  // namespace kser_test
