// What the sketches use of the Pico's SDK: its second core wakes the first with an event.
#ifndef KSER_TESTS_MICRO_FAKES_HARDWARE_SYNC_H_
#define KSER_TESTS_MICRO_FAKES_HARDWARE_SYNC_H_

#include <Arduino.h>

inline void __wfe() { __WFI(); }
inline void __sev() {}

#endif  // KSER_TESTS_MICRO_FAKES_HARDWARE_SYNC_H_
