// Softmax over the keys that a query reads, with dropout, and its backward pass from the scores. For one TYPE.
//
// 16 lanes a line, without shared memory: a line of 512 scores is 2 kB and is read again from the cache.
// Bound by memory: forward 8 bytes a value in f32 and 4 in bf16, backward 12 and 6; that is 0.42, 0.84, 0.28 and
// 0.56 · 10¹² values/s of 3.35 TB/s. About 45 instructions a value forward and 75 backward, where an H100 issues 70 and 35
// (f32, bf16), and 105 and 53, in that time: in f32 memory decides, in bf16 the instructions do, at 0.7 of the rate.

// The largest scaled score that a query reads.
INLINE f32 OF(largest, TYPE)(const TYPE *score, f32 scale, Reach reach) {
  f32 largest = -INFINITY;
  for (u32 t = reach.from / LANES * LANES + lane_of_line(); t < reach.until; t += LANES) {
    f32 z = t >= reach.from ? scale * OF(load, TYPE)(score, t) : -INFINITY;
    largest = largest < z ? z : largest;
  }
  return largest_of_line(largest);
}

KERNEL(OF(softmax, TYPE), SoftmaxArguments) {
  u64 line = line_of_thread();
  if (line >= a.lines) return;
  const TYPE *score = (const TYPE *)a.score + line * a.side;
  TYPE *result = (TYPE *)a.result + line * a.side;
  u32 lane = lane_of_line();
  Reach reach = reach_of(a, line);
  f32 largest = OF(largest, TYPE)(score, a.scale, reach), sum = 0.0f;
  for (u32 t = reach.from / LANES * LANES + lane; t < reach.until; t += LANES)
    if (t >= reach.from) sum += exp_of(a.scale * OF(load, TYPE)(score, t) - largest);
  f32 inverse = 1.0f / sum_of_line(sum);
  for (u32 start = 0; start < a.side; start += CHUNK) {
    u32 w[4];
    if (a.factors.threshold && start < reach.until && start + CHUNK > reach.from)
      words_of(w, a.factors, reach.place, start / CHUNK, lane);
#pragma unroll
    for (u32 part = 0; part < 8; part++) {
      u32 t = start + part * LANES + lane;
      if (t >= a.side) break;
      f32 value = 0.0f;
      if (t >= reach.from && t < reach.until) {
        value = exp_of(a.scale * OF(load, TYPE)(score, t) - largest) * inverse;
        if (a.factors.threshold) value *= factor_of(a.factors, w, part);
      }
      OF(store, TYPE)(result, t, value);
    }
  }
}

// The gradient of the scores: scale · w ∘ (g − Σ w g), with g = gradient ∘ factors.
KERNEL(OF(softmax_backward, TYPE), SoftmaxArguments) {
  u64 line = line_of_thread();
  if (line >= a.lines) return;
  const TYPE *score = (const TYPE *)a.score + line * a.side, *gradient = (const TYPE *)a.gradient + line * a.side;
  TYPE *result = (TYPE *)a.result + line * a.side;
  u32 lane = lane_of_line();
  Reach reach = reach_of(a, line);
  f32 largest = OF(largest, TYPE)(score, a.scale, reach), sum = 0.0f, along = 0.0f, inverse = 0.0f;
  // The first round sums e and e · g, the second writes: the factors are drawn in both rather than kept.
  for (u32 round = 0; round < 2; round++) {
    u32 begin = round ? 0 : reach.from / CHUNK * CHUNK, end = round ? a.side : reach.until;
    for (u32 start = begin; start < end; start += CHUNK) {
      u32 w[4];
      if (a.factors.threshold && start < reach.until && start + CHUNK > reach.from)
        words_of(w, a.factors, reach.place, start / CHUNK, lane);
#pragma unroll
      for (u32 part = 0; part < 8; part++) {
        u32 t = start + part * LANES + lane;
        if (t >= end) break;
        f32 value = 0.0f;
        if (t >= reach.from && t < reach.until) {
          f32 e = exp_of(a.scale * OF(load, TYPE)(score, t) - largest), g = OF(load, TYPE)(gradient, t);
          if (a.factors.threshold) g *= factor_of(a.factors, w, part);
          if (round) {
            value = a.scale * (e * inverse) * (g - along);
          } else {
            sum += e;
            along += e * g;
          }
        }
        if (round) OF(store, TYPE)(result, t, value);
      }
    }
    if (!round) {
      inverse = 1.0f / sum_of_line(sum);
      along = sum_of_line(along) * inverse;
    }
  }
}
