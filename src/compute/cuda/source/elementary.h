// compute::kernels::math, operation by operation: the bits of the CPU on every device, and no call.
#ifndef ELEMENTARY_H
#define ELEMENTARY_H
#include "common.h"

// NaN stays NaN, which fminf and fmaxf would lose.
INLINE f32 clamp(f32 x, f32 low, f32 high) { return x < low ? low : x > high ? high : x; }

INLINE f32 exp_of(f32 x) {
  const f32 round = 12582912.0f;
  x = clamp(x, -87.0f, 88.0f);
  f32 shifted = fmaf(x, 1.44269504088896340736f, round);
  f32 n = shifted - round;
  f32 r = fmaf(n, 2.1219444e-4f, fmaf(n, -0.6933594f, x));
  f32 p = 1.0f / 5040.0f;
  p = fmaf(r, p, 1.0f / 720.0f);
  p = fmaf(r, p, 1.0f / 120.0f);
  p = fmaf(r, p, 1.0f / 24.0f);
  p = fmaf(r, p, 1.0f / 6.0f);
  p = fmaf(r, p, 0.5f);
  p = fmaf(r, p, 1.0f);
  p = fmaf(r, p, 1.0f);
  return p * f32_of_bits((bits_of_f32(shifted) - bits_of_f32(round) + 127u) << 23);
}

INLINE f32 erf_of(f32 x) {
  const f32 limit = 3.92f, centre = limit * limit / 2.0f;
  x = clamp(x, -limit, limit);
  f32 t = fmaf(x * x, 1.0f / centre, -1.0f);
  f32 p = -0.00077541143f;
  p = fmaf(t, p, 0.0020457653f);
  p = fmaf(t, p, -0.0016186947f);
  p = fmaf(t, p, 0.0020871249f);
  p = fmaf(t, p, -0.007371947f);
  p = fmaf(t, p, 0.01400489f);
  p = fmaf(t, p, -0.020180436f);
  p = fmaf(t, p, 0.029820837f);
  p = fmaf(t, p, -0.043374684f);
  p = fmaf(t, p, 0.058358494f);
  p = fmaf(t, p, -0.07403017f);
  p = fmaf(t, p, 0.09060231f);
  p = fmaf(t, p, -0.1091785f);
  p = fmaf(t, p, 0.13408427f);
  p = fmaf(t, p, -0.18010864f);
  p = fmaf(t, p, 0.36073682f);
  return x * p;
}

INLINE f32 tanh_of(f32 x) { return 1.0f - 2.0f / (exp_of(2.0f * x) + 1.0f); }
INLINE f32 normal_of(f32 x) { return fmaf(erf_of(x * 0.70710678118654752440f), 0.5f, 0.5f); }
INLINE f32 density_of(f32 x) { return 0.3989423f * exp_of(-0.5f * x * x); }
#endif
