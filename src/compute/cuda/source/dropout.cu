#include "noise.h"

typedef struct {
  const void *x;
  const Place *places;
  void *y;
  u64 lines;
  u32 width;
  Factors factors;
} DropoutArguments;

#define TYPE f32
#include "dropout.h"
#undef TYPE
#define TYPE bf16
#include "dropout.h"
