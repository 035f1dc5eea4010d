// All of kser's firmware library.
#ifndef KSER_MICRO_H_
#define KSER_MICRO_H_

#include "emotion_classifier.h"
#include "golden_clip.h"
#include "i2s_slot.h"
#include "json_line.h"
#include "kernels/op_resolver.h"
#include "microphone_check.h"
#include "ring_buffer.h"
#include "serial_link.h"

#endif  // KSER_MICRO_H_
