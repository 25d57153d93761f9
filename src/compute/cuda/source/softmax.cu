#include "elementary.h"
#include "noise.h"

// One sequence: its tokens, and the row that names its noise.
typedef struct { u32 length; u32 row[2]; } Sequence;

// Tensors [b, h, s, s]; `window` is the largest distance, 0xffffffff where there is none.
typedef struct {
  const void *score;
  const void *gradient;
  const Sequence *sequences;
  void *result;
  u64 lines;
  u32 heads;
  u32 side;
  f32 scale;
  u32 window;
  Factors factors;
} SoftmaxArguments;

// What one query of one head reads: keys from..until, none where it is padding.
typedef struct { u32 from, until; Place place; } Reach;

INLINE Reach reach_of(SoftmaxArguments a, u64 line) {
  u32 query = (u32)(line % a.side), head = (u32)(line / a.side % a.heads);
  Sequence sequence = a.sequences[line / a.side / a.heads];
  // Noise knows nothing of padding: the lines of a head follow one another by the sequence's own length.
  Reach reach = {0, 0, {{sequence.row[0], sequence.row[1]}, head * sequence.length + query}};
  if (query >= sequence.length) return reach;
  reach.from = query > a.window ? query - a.window : 0;
  reach.until = sequence.length - query > a.window ? query + a.window + 1 : sequence.length;
  return reach;
}

#define TYPE f32
#include "softmax.h"
#undef TYPE
#define TYPE bf16
#include "softmax.h"
