// What differs from board to board. board.cpp has them for an emulated one; write yours in its place.
#ifndef BOARD_H_
#define BOARD_H_

#include <cstdint>

#include "application.h"

// Writes text to the serial line.
void Print(const char* text);

// Bytes of that line, for bin/board; ReadByte gives -1 where none waits.
int ReadByte();
void WriteByte(std::uint8_t byte);

// A clock that wraps at 2^32.
std::uint32_t Microseconds();

// An index in kser::kLabels, or kser::kSilence.
void ShowLabel(int label);

// Sleeps until an interrupt comes, as the microphone's does every few milliseconds.
void Sleep();

// Starts to pass 16-bit samples at kser::kSampleRateHz to Application::OnSamples; false where that fails.
bool StartMicrophone(kser::Application* application);

#endif  // BOARD_H_
