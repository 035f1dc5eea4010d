// Tables of functions of one int8 value, in the arena: nodes that need the same share one.
#ifndef KSER_KERNELS_SHARED_TABLE_H_
#define KSER_KERNELS_SHARED_TABLE_H_

#include "tflm.h"

namespace kser {

enum class Function : std::int8_t { kLogistic, kTanh, kHardSwish, kSwish };

// Forgets the tables of other models; to be called when a node is initialized.
void ForgetTables();

// kTableSize values; nullptr if the arena is too small or a scale is not for the function.
std::int8_t* FindOrFillTable(TfLiteContext* context, Function function, const Quantization& input,
                             const Quantization& output);

}  // namespace kser

#endif  // KSER_KERNELS_SHARED_TABLE_H_
