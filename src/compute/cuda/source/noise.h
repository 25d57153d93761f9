// compute::kernels::noise: Philox4x32-10 by counters, and the dropout factor of a value.
#ifndef NOISE_H
#define NOISE_H
#include "common.h"

// Values that 16 counters give.
#define CHUNK 128

// The drop decision of one place; a threshold of 0 drops nothing.
typedef struct { u32 key[2]; u32 threshold; f32 kept; } Factors;

// Where a line is drawn.
typedef struct { u32 row[2]; u32 token; } Place;

// The four words of one counter: of the values chunk · 128 + lane + 16 · part, part < 8.
INLINE void words_of(u32 w[4], Factors factors, Place place, u32 chunk, u32 lane) {
  u32 key[2] = {factors.key[0], factors.key[1]};
  w[0] = place.row[0], w[1] = place.row[1], w[2] = place.token, w[3] = chunk * LANES + lane;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    u64 first = (u64)0xD2511F53u * w[0], second = (u64)0xCD9E8D57u * w[2];
    u32 w0 = (u32)(second >> 32) ^ w[1] ^ key[0], w2 = (u32)(first >> 32) ^ w[3] ^ key[1];
    w[1] = (u32)second, w[3] = (u32)first, w[0] = w0, w[2] = w2;
    key[0] += 0x9E3779B9u, key[1] += 0xBB67AE85u;
  }
}

INLINE f32 factor_of(Factors factors, const u32 w[4], u32 part) {
  u32 half = w[part / 2] >> (16 * (part % 2)) & 0xffffu;
  return half < factors.threshold ? 0.0f : factors.kept;
}
#endif
