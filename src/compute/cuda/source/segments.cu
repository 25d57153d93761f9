#include "common.h"

typedef struct {
  const void *x;
  const u32 *order;
  const u32 *starts;
  const u32 *rows;
  f32 *result;
  u32 width;
} SegmentArguments;

#define TYPE f32
#include "segments.h"
#undef TYPE
#define TYPE bf16
#include "segments.h"
