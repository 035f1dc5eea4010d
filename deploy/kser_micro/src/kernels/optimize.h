// To be included before anything else: what follows is compiled for speed, whatever the project says. Arduino cores build
// with -Os, which costs the kernels a fifth to a third of their speed.
#ifndef KSER_KERNELS_OPTIMIZE_H_
#define KSER_KERNELS_OPTIMIZE_H_

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O2")
#endif

#endif  // KSER_KERNELS_OPTIMIZE_H_
