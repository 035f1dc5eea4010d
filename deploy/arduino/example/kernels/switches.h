// Which kernels replace those of TensorFlow Lite Micro. Define one as 0, here or for the compiler, to leave it out.
#ifndef KSER_KERNELS_SWITCHES_H_
#define KSER_KERNELS_SWITCHES_H_

#ifndef KSER_KERNEL_LOGISTIC
#define KSER_KERNEL_LOGISTIC 1
#endif
#ifndef KSER_KERNEL_TANH
#define KSER_KERNEL_TANH 1
#endif
#ifndef KSER_KERNEL_HARD_SWISH
#define KSER_KERNEL_HARD_SWISH 1
#endif
#ifndef KSER_KERNEL_SOFTMAX
#define KSER_KERNEL_SOFTMAX 1
#endif
#ifndef KSER_KERNEL_L2_NORMALIZATION
#define KSER_KERNEL_L2_NORMALIZATION 1
#endif
#ifndef KSER_KERNEL_MEAN
#define KSER_KERNEL_MEAN 1
#endif
#ifndef KSER_KERNEL_ADD
#define KSER_KERNEL_ADD 1
#endif
#ifndef KSER_KERNEL_SUB
#define KSER_KERNEL_SUB 1
#endif
#ifndef KSER_KERNEL_MUL
#define KSER_KERNEL_MUL 1
#endif
#ifndef KSER_KERNEL_BATCH_MATMUL
#define KSER_KERNEL_BATCH_MATMUL 1
#endif
#ifndef KSER_KERNEL_FULLY_CONNECTED
#define KSER_KERNEL_FULLY_CONNECTED 1
#endif
#ifndef KSER_KERNEL_CONV_2D
#define KSER_KERNEL_CONV_2D 1
#endif
#ifndef KSER_KERNEL_DEPTHWISE_CONV_2D
#define KSER_KERNEL_DEPTHWISE_CONV_2D 1
#endif
#ifndef KSER_KERNEL_PAD
#define KSER_KERNEL_PAD 1
#endif

#endif  // KSER_KERNELS_SWITCHES_H_
