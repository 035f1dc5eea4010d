// A microphone at the I2S port: one of I2S, the left channel, or one of PDM (KSER_PDM in pins.h).
#ifndef MICROPHONE_H_
#define MICROPHONE_H_

#if __has_include("src/kser_micro/application.h")  // in an Arduino sketch
#include "src/kser_micro/application.h"
#else
#include "application.h"
#endif

// Starts a task that passes the microphone's samples on; false where that fails.
bool StartMicrophone(kser::Application* application);

#endif  // MICROPHONE_H_
