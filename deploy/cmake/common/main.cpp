// Emotions in speech, from the microphone to the serial line: a line of JSON for each decision.
#include "application.h"
#include "board.h"

#if KSER_SERIAL
static kser::Application application({Print, Microseconds, ShowLabel, Sleep, ReadByte, WriteByte});
#else
static kser::Application application({Print, Microseconds, ShowLabel, Sleep});
#endif

int main() {
  if (application.SetUp()) application.OnMicrophone(StartMicrophone(&application));
  for (;;) application.Poll();
}
