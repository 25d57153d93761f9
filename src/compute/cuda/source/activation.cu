#include "elementary.h"

// compute::ops::Activation, in its order.
enum { GELU, GELU_NEW, RELU, SILU, TANH };

typedef struct {
  const void *x;
  const void *gradient;
  void *result;
  u64 count;
  u32 kind;
  u32 aligned;
} ActivationArguments;

// √(2 / π) and the cubic's factor of the tanh approximation.
#define ROOT 0.7978846f
#define CUBIC 0.044715f

// compute::kernels::activation, operation by operation.
INLINE f32 activation_of(u32 kind, f32 x) {
  if (kind == GELU) return x * normal_of(x);
  if (kind == GELU_NEW) return x * fmaf(tanh_of(ROOT * x * fmaf(CUBIC * x, x, 1.0f)), 0.5f, 0.5f);
  // NaN becomes 0, as `f32::max` has it.
  if (kind == RELU) return x > 0.0f ? x : 0.0f;
  if (kind == SILU) return x / (1.0f + exp_of(-x));
  return tanh_of(x);
}

INLINE f32 slope_of(u32 kind, f32 x, f32 gradient) {
  if (kind == GELU) return gradient * fmaf(x, density_of(x), normal_of(x));
  if (kind == GELU_NEW) {
    f32 inner = tanh_of(ROOT * x * fmaf(CUBIC * x, x, 1.0f)), slope = ROOT * fmaf(3.0f * CUBIC * x, x, 1.0f);
    return gradient * (fmaf(inner, 0.5f, 0.5f) + 0.5f * x * (1.0f - inner * inner) * slope);
  }
  if (kind == RELU) return x > 0.0f ? gradient : 0.0f;
  if (kind == SILU) {
    f32 share = 1.0f / (1.0f + exp_of(-x));
    return gradient * (share * fmaf(x, 1.0f - share, 1.0f));
  }
  f32 value = tanh_of(x);
  return gradient * (1.0f - value * value);
}

#define TYPE f32
#include "activation.h"
#undef TYPE
#define TYPE bf16
#include "activation.h"
