// Emotions in speech, from the microphone to the serial line: a line of JSON for each decision, at 115200 baud.
#include <Chirale_TensorFlowLite.h>  // First, so that the library is found for all files.

#include "board.h"
#include "src/kser_micro/application.h"

constexpr uint32_t kSerialWaitMs = 4000;

static void PrintText(const char* text) { Serial.print(text); }

static uint32_t Microseconds() { return micros(); }

#if KSER_SERIAL
static int ReadByte() { return Serial.read(); }

static void WriteByte(uint8_t byte) { Serial.write(byte); }

static kser::Application application({PrintText, Microseconds, ShowLabel, Sleep, ReadByte, WriteByte});
#else
static kser::Application application({PrintText, Microseconds, ShowLabel, Sleep});
#endif

void setup() {
  Serial.begin(KSER_SERIAL ? 921600 : 115200);  // Native USB has no baud rate.
  const uint32_t start = millis();
  while (!Serial && millis() - start < kSerialWaitMs) {
  }
  SetUpLed();
  if (application.SetUp()) application.OnMicrophone(StartMicrophone(&application));
}

void loop() { application.Poll(); }
