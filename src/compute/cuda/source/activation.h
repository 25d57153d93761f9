// The non-linearity and its backward pass, four values a thread. For one TYPE.
//
// Bound by memory: 8 bytes a value forward and 12 backward in f32, 4 and 6 in bf16; 0.42, 0.28, 0.84 and 0.56 · 10¹²
// values/s of 3.35 TB/s. GELU is about 27 instructions forward and 45 backward, within what an H100 issues meanwhile.
KERNEL(OF(activate, TYPE), ActivationArguments) {
  u64 i = 4 * thread_of_grid();
  if (i >= a.count) return;
  f32 v[4];
  OF(load4, TYPE)((const TYPE *)a.x, i, a.count, a.aligned, v);
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] = activation_of(a.kind, v[j]);
  OF(store4, TYPE)((TYPE *)a.result, i, a.count, a.aligned, v);
}

KERNEL(OF(activate_backward, TYPE), ActivationArguments) {
  u64 i = 4 * thread_of_grid();
  if (i >= a.count) return;
  f32 v[4], gradient[4];
  OF(load4, TYPE)((const TYPE *)a.x, i, a.count, a.aligned, v);
  OF(load4, TYPE)((const TYPE *)a.gradient, i, a.count, a.aligned, gradient);
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] = slope_of(a.kind, v[j], gradient[j]);
  OF(store4, TYPE)((TYPE *)a.result, i, a.count, a.aligned, v);
}
