// Queries and keys turned by the places of their tokens, values copied: compute::kernels::rotary. A block a token. For one
// TYPE. Bound by memory: 8 bytes a value in f32, 4 in bf16; 0.42 and 0.84 · 10¹² values/s of 3.35 TB/s.
KERNEL(OF(rotate, TYPE), RotaryArguments) {
  u32 width = a.heads * a.head_width, pairs = a.head_width / 2;
  const TYPE *x = (const TYPE *)a.x + (u64)blockIdx.x * 3 * width;
  TYPE *result = (TYPE *)a.result + (u64)blockIdx.x * 3 * width;
  const f32 *cos_sin = a.cos_sin + (u64)a.places[blockIdx.x].token * a.head_width;
  // As many pairs as values: two of three parts are turned.
  for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
    u32 pair = i % pairs, first = i / pairs * a.head_width + pair;
    f32 one = OF(load, TYPE)(x, first), other = OF(load, TYPE)(x, first + pairs);
    f32 c = cos_sin[pair], s = a.back ? -cos_sin[pairs + pair] : cos_sin[pairs + pair];
    OF(store, TYPE)(result, first, one * c - other * s);
    OF(store, TYPE)(result, first + pairs, other * c + one * s);
    result[2 * width + i] = x[2 * width + i];
  }
}
