// AdamW and the moving average of weights with the bits of train::optimizer and train::average, and the sums of squares
// that clipping asks for.
#include "common.h"

typedef struct { f32 beta1, beta2, epsilon, rate, root, shrink, scale; } Coefficients;

typedef struct {
  f32 *first;
  f32 *second;
  const f32 *gradient;
  u64 count;
  Coefficients k;
  u32 aligned;
} MomentsArguments;

typedef struct {
  f32 *x;
  const f32 *first;
  const f32 *second;
  u64 count;
  Coefficients k;
  u32 aligned;
} WeightsArguments;

typedef struct {
  f32 *average;
  const f32 *weight;
  u64 count;
  f32 decay;
  u32 aligned;
} AverageArguments;

typedef struct { u64 start; u64 count; } Piece;

typedef struct {
  const f32 *x;
  const Piece *pieces;
  double *sums;
} SquaresArguments;

typedef struct {
  const double *sums;
  const Piece *pieces;
  double *result;
} AddSquaresArguments;

// Bound by memory: 20 bytes a value, 0.17 · 10¹² values/s of 3.35 TB/s.
KERNEL(adamw_moments, MomentsArguments) {
  u64 i = 4 * thread_of_grid();
  if (i >= a.count) return;
  f32 m[4], v[4], g[4];
  load4_f32(a.first, i, a.count, a.aligned, m);
  load4_f32(a.second, i, a.count, a.aligned, v);
  load4_f32(a.gradient, i, a.count, a.aligned, g);
#pragma unroll
  for (int j = 0; j < 4; j++) {
    f32 gradient = g[j] * a.k.scale;
    m[j] = a.k.beta1 * m[j] + (1.0f - a.k.beta1) * gradient;
    v[j] = a.k.beta2 * v[j] + (1.0f - a.k.beta2) * gradient * gradient;
  }
  store4_f32(a.first, i, a.count, a.aligned, m);
  store4_f32(a.second, i, a.count, a.aligned, v);
}

// Bound by memory: 16 bytes a value, 0.21 · 10¹² values/s of 3.35 TB/s; a root and two divisions are about 45 instructions
// where an H100 issues 140.
KERNEL(adamw_weights, WeightsArguments) {
  u64 i = 4 * thread_of_grid();
  if (i >= a.count) return;
  f32 x[4], m[4], v[4];
  load4_f32(a.x, i, a.count, a.aligned, x);
  load4_f32(a.first, i, a.count, a.aligned, m);
  load4_f32(a.second, i, a.count, a.aligned, v);
#pragma unroll
  for (int j = 0; j < 4; j++)
    x[j] = x[j] * a.k.shrink - a.k.rate * m[j] / (sqrtf(v[j]) / a.k.root + a.k.epsilon);
  store4_f32(a.x, i, a.count, a.aligned, x);
}

// Bound by memory: 12 bytes a value, 0.28 · 10¹² values/s of 3.35 TB/s.
KERNEL(average, AverageArguments) {
  u64 i = 4 * thread_of_grid();
  if (i >= a.count) return;
  f32 value[4], weight[4];
  load4_f32(a.average, i, a.count, a.aligned, value);
  load4_f32(a.weight, i, a.count, a.aligned, weight);
#pragma unroll
  for (int j = 0; j < 4; j++) value[j] = a.decay * value[j] + (1.0f - a.decay) * weight[j];
  store4_f32(a.average, i, a.count, a.aligned, value);
}

// The sum of squares of one piece a block, in f64. Bound by memory: 4 bytes a value, 0.84 · 10¹² values/s of 3.35 TB/s, on
// cards that compute in f64 at half the rate of f32; at a 64th, as others do, by its arithmetic.
KERNEL(square_pieces, SquaresArguments) {
  __shared__ double sums[256];
  Piece piece = a.pieces[blockIdx.x];
  const f32 *x = a.x + piece.start;
  u32 aligned = (u64)x % 16 == 0;
  double sum = 0.0;
#pragma unroll 4
  for (u64 i = 4 * threadIdx.x; i < piece.count; i += 4 * blockDim.x) {
    f32 v[4];
    load4_f32(x, i, piece.count, aligned, v);
    for (int j = 0; j < 4; j++) sum += (double)v[j] * (double)v[j];
  }
  sums[threadIdx.x] = sum;
  for (u32 far = blockDim.x / 2; far > 0; far /= 2) {
    __syncthreads();
    if (threadIdx.x < far) sums[threadIdx.x] += sums[threadIdx.x + far];
  }
  if (threadIdx.x == 0) a.sums[blockIdx.x] = sums[0];
}

// The sums of the pieces of one part a block, in their order: read together, added by one thread.
KERNEL(add_squares, AddSquaresArguments) {
  __shared__ double sums[256];
  Piece own = a.pieces[blockIdx.x];
  double sum = 0.0;
  for (u64 start = 0; start < own.count; start += blockDim.x) {
    if (start + threadIdx.x < own.count) sums[threadIdx.x] = a.sums[own.start + start + threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0)
      for (u64 i = 0; i < blockDim.x && start + i < own.count; i++) sum += sums[i];
    __syncthreads();
  }
  if (threadIdx.x == 0) a.result[blockIdx.x] = sum;
}
