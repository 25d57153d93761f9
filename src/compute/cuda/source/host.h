// The part of CUDA that the kernels use, for one thread of the host: blocks run one after another, and the threads
// of a block are coroutines that give way where a device would wait (host.c).
#ifndef HOST_H
#define HOST_H
#include <math.h>
#include <string.h>

struct dim3 { unsigned int x, y, z; };
extern struct dim3 threadIdx, blockIdx, blockDim, gridDim;

#define INLINE static inline __attribute__((unused))
// The arguments come by address, as cuLaunchKernel has them. In two steps, so that a name may be a macro.
#define KERNEL(name, Arguments) KERNEL_OF_HOST(name, Arguments)
#define KERNEL_OF_HOST(name, Arguments)                                                                                \
  static void name##_body(const Arguments a);                                                                          \
  void name(const void *arguments) { name##_body(*(const Arguments *)arguments); }                                     \
  static void name##_body(const Arguments a)
// One block runs at a time.
#define __shared__ static
extern float host_shared[];
#define DYNAMIC_SHARED(name) float *name = host_shared

void __syncthreads(void);
float __shfl_xor_sync(unsigned int mask, float value, int far);

static inline float f32_of_bits(unsigned int bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline unsigned int bits_of_f32(float x) { unsigned int bits; memcpy(&bits, &x, 4); return bits; }
#endif
