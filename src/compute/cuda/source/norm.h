// Layer norm of x + residual, and its backward passes. For one TYPE of x; all else is f32.
//
// 16 lanes a line, and the line in shared memory, of which a lane touches its own values only. With f32 and a residual:
// forward 12 bytes a value, backward 16 (the gradient is read again from the cache), the sums for γ and β 20 in two
// kernels. All are bound by memory: 0.28, 0.21 and 0.17 · 10¹² values/s of 3.35 TB/s; bf16 saves 2 bytes a reading of x.

// Leaves x̂ in `normed`; compute::kernels::norm::normalise.
INLINE Statistics OF(normalise, TYPE)(const TYPE *x, const f32 *residual, u32 width, f32 epsilon, f32 *normed) {
  u32 lane = lane_of_line();
  f32 sum = 0.0f;
#pragma unroll 8
  for (u32 f = lane; f < width; f += LANES) {
    f32 value = OF(load, TYPE)(x, f);
    if (residual) value += residual[f];
    normed[f] = value;
    sum += value;
  }
  f32 mean = sum_of_line(sum) / (f32)width, squares = 0.0f;
#pragma unroll 8
  for (u32 f = lane; f < width; f += LANES) {
    f32 value = normed[f] - mean;
    normed[f] = value;
    squares += value * value;
  }
  f32 inverse = 1.0f / sqrtf(sum_of_line(squares) / (f32)width + epsilon);
#pragma unroll 8
  for (u32 f = lane; f < width; f += LANES) normed[f] *= inverse;
  Statistics statistics = {mean, inverse};
  return statistics;
}

KERNEL(OF(norm, TYPE), NormArguments) {
  DYNAMIC_SHARED(shared);
  u64 line = line_of_thread(), first = line * a.width;
  if (line >= a.lines) return;
  f32 *normed = shared + threadIdx.x / LANES * a.stride;
  OF(normalise, TYPE)((const TYPE *)a.x + first, a.residual ? a.residual + first : 0, a.width, a.epsilon, normed);
#pragma unroll 4
  for (u32 f = lane_of_line(); f < a.width; f += LANES)
    a.result[first + f] = a.beta ? fmaf(normed[f], a.gamma[f], a.beta[f]) : normed[f] * a.gamma[f];
}

// The gradient of x + residual: compute::kernels::norm::line_backward.
KERNEL(OF(norm_backward, TYPE), NormArguments) {
  DYNAMIC_SHARED(shared);
  u64 line = line_of_thread(), first = line * a.width;
  if (line >= a.lines) return;
  const f32 *residual = a.residual ? a.residual + first : 0, *gradient = a.gradient + first;
  f32 *normed = shared + threadIdx.x / LANES * a.stride;
  f32 inverse = OF(normalise, TYPE)((const TYPE *)a.x + first, residual, a.width, a.epsilon, normed).inverse;
  f32 mean = 0.0f, along = 0.0f;
#pragma unroll 4
  for (u32 f = lane_of_line(); f < a.width; f += LANES) {
    f32 g = gradient[f] * a.gamma[f];
    mean += g;
    along += g * normed[f];
  }
  mean = sum_of_line(mean) / (f32)a.width;
  along = sum_of_line(along) / (f32)a.width;
#pragma unroll 4
  for (u32 f = lane_of_line(); f < a.width; f += LANES)
    a.result[first + f] = inverse * (gradient[f] * a.gamma[f] - mean - normed[f] * along);
}

// Mean and 1 / σ of each line, `result` [m, 2].
KERNEL(OF(norm_statistics, TYPE), NormArguments) {
  DYNAMIC_SHARED(shared);
  u64 line = line_of_thread(), first = line * a.width;
  if (line >= a.lines) return;
  const f32 *residual = a.residual ? a.residual + first : 0;
  f32 *normed = shared + threadIdx.x / LANES * a.stride;
  Statistics statistics = OF(normalise, TYPE)((const TYPE *)a.x + first, residual, a.width, a.epsilon, normed);
  if (lane_of_line()) return;
  a.result[2 * line] = statistics.mean;
  a.result[2 * line + 1] = statistics.inverse;
}

// The sums over one block of lines for the gradients of γ and, where there are two, β: one thread a column.
KERNEL(OF(norm_parts, TYPE), NormPartsArguments) {
  u32 f = (u32)thread_of_grid();
  if (f >= a.width) return;
  u64 line = blockIdx.y * (u64)a.block, end = line + a.block < a.lines ? line + a.block : a.lines;
  f32 of_gamma = 0.0f, of_beta = 0.0f;
#pragma unroll 4
  for (; line < end; line++) {
    u64 i = line * a.width + f;
    f32 value = OF(load, TYPE)((const TYPE *)a.x, i), gradient = a.gradient[i];
    if (a.residual) value += a.residual[i];
    of_gamma += gradient * ((value - a.statistics[2 * line]) * a.statistics[2 * line + 1]);
    of_beta += gradient;
  }
  f32 *part = a.parts + (u64)blockIdx.y * a.sums * a.width;
  part[f] = of_gamma;
  if (a.sums == 2) part[a.width + f] = of_beta;
}
