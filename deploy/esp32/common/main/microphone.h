// An I2S microphone of the left channel.
#ifndef MICROPHONE_H_
#define MICROPHONE_H_

#include "application.h"

// Starts a task that passes the microphone's samples on; false where that fails.
bool StartMicrophone(kser::Application* application);

#endif  // MICROPHONE_H_
