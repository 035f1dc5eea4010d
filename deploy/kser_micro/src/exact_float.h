// To be included before any function whose floats must be those of kser/audio/device_log_mel.py: from here on the compiler fuses no
// product and sum into one operation, which would round once instead of twice.
#ifndef KSER_EXACT_FLOAT_H_
#define KSER_EXACT_FLOAT_H_

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#endif  // KSER_EXACT_FLOAT_H_
