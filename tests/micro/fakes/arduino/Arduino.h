// What the sketches use of an Arduino core, on a board whose time the microphone's samples count.
#ifndef KSER_TESTS_MICRO_FAKES_ARDUINO_H_
#define KSER_TESTS_MICRO_FAKES_ARDUINO_H_

#include <cstddef>
#include <cstdint>

using std::size_t;

enum PinMode { INPUT, OUTPUT };
enum PinLevel { LOW, HIGH };

constexpr int LED_BUILTIN = 25;
constexpr int LEDR = 22;
constexpr int LEDG = 23;
constexpr int LEDB = 24;

// unsigned long, as cores have it.
// Cortex-M's sleep; time passes in it alone, and in a stall.
void __WFI();

unsigned long micros();
unsigned long millis();
void pinMode(int pin, PinMode mode);
void digitalWrite(int pin, PinLevel level);

class FakeSerial {
 public:
  void begin(unsigned long baud);
  explicit operator bool() const;
  size_t print(const char* text);
  size_t write(std::uint8_t byte);
  int read();
};

extern FakeSerial Serial;

#endif  // KSER_TESTS_MICRO_FAKES_ARDUINO_H_
