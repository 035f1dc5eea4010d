// What differs from board to board.
#ifndef BOARD_H_
#define BOARD_H_

#include "src/kser_micro/application.h"

// Starts to pass the microphone's samples on; false where that fails.
bool StartMicrophone(kser::Application* application);

void SetUpLed();

// An index in kser::kLabels, or kser::kSilence.
void ShowLabel(int label);

// Sleeps until an interrupt comes, as the microphone's does every few milliseconds.
void Sleep();

#endif  // BOARD_H_
