#include "common.h"

// x and result are [m, n].
typedef struct {
  const void *x;
  const f32 *bias;
  void *result;
  u64 lines;
  u32 width;
  u32 aligned;
} BiasArguments;

// `parts` is [blocks, n].
typedef struct {
  const void *x;
  f32 *parts;
  u64 lines;
  u32 width;
  u32 block;
} ColumnPartsArguments;

typedef struct {
  const f32 *parts;
  f32 *result;
  u32 count;
  u32 width;
} ColumnSumsArguments;

#define TYPE f32
#include "columns.h"
#undef TYPE
#define TYPE bf16
#include "columns.h"

// The blocks' sums in their order, one thread a column: 1 / 32 of what the blocks read, and less.
KERNEL(column_sums, ColumnSumsArguments) {
  u32 f = (u32)thread_of_grid();
  if (f >= a.width) return;
  f32 sum = 0.0f;
#pragma unroll 8
  for (u32 part = 0; part < a.count; part++) sum += a.parts[(u64)part * a.width + f];
  a.result[f] = sum;
}
