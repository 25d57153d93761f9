// result[rows[j]] = the sum of the lines of x in segment j, in their order, from zero: the gradient of an embedding with
// its lines sorted by id (compute::kernels::embedding). A block a segment, a thread a column. For one TYPE.
//
// Bound by memory: 4 bytes a value read in f32, 2 in bf16, and 4 for each value of a row written; 0.84 · 10¹² values/s of
// 3.35 TB/s where every segment has many lines, half of it where each has one.
KERNEL(OF(segment_sums, TYPE), SegmentArguments) {
  u32 start = a.starts[blockIdx.x], end = a.starts[blockIdx.x + 1];
  u64 row = a.rows[blockIdx.x];
  for (u32 f = threadIdx.x; f < a.width; f += blockDim.x) {
    f32 sum = 0.0f;
#pragma unroll 4
    for (u32 j = start; j < end; j++) sum += OF(load, TYPE)((const TYPE *)a.x, (u64)a.order[j] * a.width + f);
    a.result[row * a.width + f] = sum;
  }
}
