#include "common.h"

// x is [m, d] of one type, residual [m, d] in f32 or null, beta null where there is none.
typedef struct {
  const void *x;
  const f32 *residual;
  const f32 *gamma;
  const f32 *beta;
  const f32 *gradient;
  f32 *result;
  u64 lines;
  u32 width;
  u32 stride;
  f32 epsilon;
} NormArguments;

// `statistics` holds the mean and 1 / σ of each line, `parts` [blocks, 1 or 2, d] the sums of blocks of lines.
typedef struct {
  const void *x;
  const f32 *residual;
  const f32 *gradient;
  const f32 *statistics;
  f32 *parts;
  u64 lines;
  u32 width;
  u32 block;
  u32 sums;
} NormPartsArguments;

typedef struct { f32 mean, inverse; } Statistics;

#define TYPE f32
#include "norm.h"
#undef TYPE
#define TYPE bf16
#include "norm.h"
