#include "common.h"
#include "noise.h"

// x and result are [p, 3d], cos_sin [r, k]; `back` turns the other way.
typedef struct {
  const void *x;
  const f32 *cos_sin;
  const Place *places;
  void *result;
  u32 heads;
  u32 head_width;
  u32 back;
} RotaryArguments;

#define TYPE f32
#include "rotary.h"
#undef TYPE
#define TYPE bf16
#include "rotary.h"
