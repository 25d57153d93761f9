// What all kernels share. A kernel is compiled twice: by nvcc for a device, and as plain C for the host that runs
// the tests (host.h), so it keeps to what both languages have.
//
// One line of a tensor belongs to LANES neighbouring threads, lane l to the values l, l + 16, l + 32, …: the CPU's
// kernels (compute::kernels::simd) keep that many running sums and add them in halves, and 16 counters of the noise
// give 128 values so. A sum has the CPU's bits, a counter is computed once, and 16 lanes read whole sectors.
//
// nvcc runs with -fmad=false: a product and a sum are one operation only where fmaf says so.
//
// What bounds a kernel is reckoned, and was not measured: for an H100 with 3.35 TB/s that issues 132 · 128 · 1.755 · 10⁹
// = 29.6 · 10¹² instructions/s, so 8.8 for a byte that it moves.
#ifndef COMMON_H
#define COMMON_H

#ifdef __CUDACC__
#define INLINE static __device__ __forceinline__
// One parameter, a structure by value: the same bytes are passed on the host.
#define KERNEL(name, Arguments) extern "C" __global__ void __launch_bounds__(256) name(const Arguments a)
#define DYNAMIC_SHARED(name) extern __shared__ float name[]
#else
#include "host.h"
#endif

typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef unsigned short bf16;

#define LANES 16

// Names by type: OF(line, f32) is line_f32, also where the type is a macro.
#define PASTE(name, type) name##_##type
#define OF(name, type) PASTE(name, type)

#ifdef __CUDACC__
INLINE f32 f32_of_bits(u32 bits) { return __uint_as_float(bits); }
INLINE u32 bits_of_f32(f32 x) { return __float_as_uint(x); }
#endif

INLINE f32 load_f32(const f32 *x, u64 i) { return x[i]; }
INLINE void store_f32(f32 *x, u64 i, f32 value) { x[i] = value; }
INLINE f32 load_bf16(const bf16 *x, u64 i) { return f32_of_bits((u32)x[i] << 16); }

// To the nearest, ties to even, as the crate half does.
INLINE bf16 narrow_bf16(f32 value) {
  u32 bits = bits_of_f32(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bf16)(bits >> 16 | 0x40u);
  return (bf16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
INLINE void store_bf16(bf16 *x, u64 i, f32 value) { x[i] = narrow_bf16(value); }

// Four values at once, from an address that is a multiple of their size.
typedef struct __attribute__((aligned(16))) { f32 v[4]; } four_f32;
typedef struct __attribute__((aligned(8))) { bf16 v[4]; } four_bf16;

// The values i..i + 4 of n, where `aligned` says that they may be read at once; 0 past the end.
INLINE void load4_f32(const f32 *x, u64 i, u64 n, u32 aligned, f32 v[4]) {
  if (aligned && i + 4 <= n) {
    four_f32 four = *(const four_f32 *)(x + i);
    for (int j = 0; j < 4; j++) v[j] = four.v[j];
  } else {
    for (int j = 0; j < 4; j++) v[j] = i + j < n ? x[i + j] : 0.0f;
  }
}
INLINE void store4_f32(f32 *x, u64 i, u64 n, u32 aligned, const f32 v[4]) {
  if (aligned && i + 4 <= n) {
    four_f32 four;
    for (int j = 0; j < 4; j++) four.v[j] = v[j];
    *(four_f32 *)(x + i) = four;
  } else {
    for (int j = 0; j < 4; j++)
      if (i + j < n) x[i + j] = v[j];
  }
}
INLINE void load4_bf16(const bf16 *x, u64 i, u64 n, u32 aligned, f32 v[4]) {
  if (aligned && i + 4 <= n) {
    four_bf16 four = *(const four_bf16 *)(x + i);
    for (int j = 0; j < 4; j++) v[j] = load_bf16(four.v, j);
  } else {
    for (int j = 0; j < 4; j++) v[j] = i + j < n ? load_bf16(x, i + j) : 0.0f;
  }
}
INLINE void store4_bf16(bf16 *x, u64 i, u64 n, u32 aligned, const f32 v[4]) {
  if (aligned && i + 4 <= n) {
    four_bf16 four;
    for (int j = 0; j < 4; j++) four.v[j] = narrow_bf16(v[j]);
    *(four_bf16 *)(x + i) = four;
  } else {
    for (int j = 0; j < 4; j++)
      if (i + j < n) store_bf16(x, i + j, v[j]);
  }
}
INLINE u64 thread_of_grid(void) { return blockIdx.x * (u64)blockDim.x + threadIdx.x; }

// The threads of one line are half of a warp, and the other half may be elsewhere.
INLINE u32 lane_of_line(void) { return threadIdx.x % LANES; }
INLINE u64 line_of_thread(void) { return thread_of_grid() / LANES; }
INLINE u32 mask_of_line(void) { return 0xffffu << (threadIdx.x & LANES); }

// compute::kernels::simd::fold: in halves, so that every lane ends with the same bits.
INLINE f32 sum_of_line(f32 value) {
  for (int far = LANES / 2; far > 0; far /= 2) value += __shfl_xor_sync(mask_of_line(), value, far);
  return value;
}
INLINE f32 largest_of_line(f32 value) {
  for (int far = LANES / 2; far > 0; far /= 2) {
    f32 other = __shfl_xor_sync(mask_of_line(), value, far);
    value = value < other ? other : value;
  }
  return value;
}
#endif
