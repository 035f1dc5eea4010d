// What unit tests of the firmware share.
#ifndef KSER_TESTS_MICRO_CHECK_H_
#define KSER_TESTS_MICRO_CHECK_H_

#include <cstdio>

namespace kser_test {

inline int& Failures() {
  static int failures = 0;
  return failures;
}

inline void Check(bool holds, const char* what, const char* file, int line) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
  ++Failures();
}

}  // namespace kser_test

#define CHECK(condition) ::kser_test::Check((condition), #condition, __FILE__, __LINE__)

#endif  // KSER_TESTS_MICRO_CHECK_H_
