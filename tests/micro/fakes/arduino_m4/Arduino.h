// What the sketches and the Arduino library of TensorFlow Lite Micro use of a core, on an emulated Cortex-M4F whose time the
// microphone's samples count.
#ifndef KSER_TESTS_MICRO_FAKES_ARDUINO_M4_H_
#define KSER_TESTS_MICRO_FAKES_ARDUINO_M4_H_

#include <cstddef>
#include <cstdint>

using std::size_t;

enum PinMode { INPUT, OUTPUT };
enum PinLevel { LOW, HIGH };

constexpr int LED_BUILTIN = 13;
constexpr int LEDR = 22;
constexpr int LEDG = 23;
constexpr int LEDB = 24;

// Sleep, in which the microphone's time passes.
void __WFI();

unsigned long micros();
unsigned long millis();
inline void delay(unsigned long) {}
inline void delayMicroseconds(unsigned) {}
inline void pinMode(int, PinMode) {}
inline void digitalWrite(int, PinLevel) {}

class FakeSerial {
 public:
  void begin(unsigned long) {}
  explicit operator bool() const { return true; }
  size_t print(const char* text);
  template <typename Number>
  size_t print(Number) {
    return 0;
  }
  template <typename Value>
  size_t println(Value value) {
    return print(value);
  }
  size_t write(std::uint8_t) { return 0; }
  int read() { return -1; }
};

extern FakeSerial Serial;

#endif  // KSER_TESTS_MICRO_FAKES_ARDUINO_M4_H_
