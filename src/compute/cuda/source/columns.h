// Bias and its gradient. For one TYPE.

// x + bias. Four columns a thread and a bias read once for all of its lines. Bound by memory: 8 bytes a value in f32,
// 4 in bf16; 0.42 and 0.84 · 10¹² values/s of 3.35 TB/s.
KERNEL(OF(add_bias, TYPE), BiasArguments) {
  u32 f = 4 * (u32)thread_of_grid();
  if (f >= a.width) return;
  f32 bias[4];
  load4_f32(a.bias, f, a.width, 0, bias);
  for (u64 line = blockIdx.y; line < a.lines; line += gridDim.y) {
    const TYPE *x = (const TYPE *)a.x + line * a.width;
    TYPE *result = (TYPE *)a.result + line * a.width;
    f32 v[4];
    OF(load4, TYPE)(x, f, a.width, a.aligned, v);
#pragma unroll
    for (int j = 0; j < 4; j++) v[j] += bias[j];
    OF(store4, TYPE)(result, f, a.width, a.aligned, v);
  }
}

// The sums over one block of lines, one thread a column: compute::kernels::norm::add_column_sums, whose blocks have 128
// lines. Bound by memory: 4 bytes a value in f32, 2 in bf16; 0.84 and 1.7 · 10¹² values/s of 3.35 TB/s, less where there
// are few columns and lines (4,096 · 384: 49,000 threads, with four loads in flight half of what the memory wants).
KERNEL(OF(column_parts, TYPE), ColumnPartsArguments) {
  u32 f = (u32)thread_of_grid();
  if (f >= a.width) return;
  u64 line = blockIdx.y * (u64)a.block, end = line + a.block < a.lines ? line + a.block : a.lines;
  f32 sum = 0.0f;
#pragma unroll 4
  for (; line < end; line++) sum += OF(load, TYPE)((const TYPE *)a.x, line * a.width + f);
  a.parts[(u64)blockIdx.y * a.width + f] = sum;
}
