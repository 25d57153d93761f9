// Runs the kernels on the host: see host.h.
#include "host.h"
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

enum { THREADS = 256, STACK = 64 * 1024, WARP = 32 };

struct dim3 threadIdx, blockIdx, blockDim, gridDim;
float host_shared[12 * 1024];

// What was exchanged last and the time before: a thread is never more than one exchange ahead of another.
static float exchanged[2][THREADS];
static unsigned int exchanges[THREADS], barriers[THREADS], running, progress;
static char finished[THREADS], stacks[THREADS][STACK];
static ucontext_t scheduler, threads[THREADS];
static void (*kernel)(const void *);
static const void *arguments;

static void give_way(void) {
  unsigned int own = running;
  swapcontext(&threads[own], &scheduler);
}

// Until the threads first..last that still run, and are in the mask, have come as far.
static void wait_for(const unsigned int *counts, unsigned int first, unsigned int last, unsigned int mask) {
  unsigned int own = running;
  progress = 1;
  for (;;) {
    unsigned int behind = 0;
    for (unsigned int other = first; other < last && other < blockDim.x; other++)
      if ((mask >> (other % WARP) & 1) && !finished[other] && (int)(counts[own] - counts[other]) > 0) behind = 1;
    if (!behind) break;
    give_way();
  }
  progress = 1;
}

void __syncthreads(void) {
  barriers[running]++;
  wait_for(barriers, 0, THREADS, ~0u);
}

float __shfl_xor_sync(unsigned int mask, float value, int far) {
  unsigned int own = running, warp = own / WARP * WARP, turn = ++exchanges[own] % 2;
  if (!(mask >> (own ^ (unsigned int)far) % WARP & 1) || finished[own ^ (unsigned int)far]) {
    fprintf(stderr, "thread %u exchanges with one that does not take part\n", own);
    abort();
  }
  exchanged[turn][own] = value;
  wait_for(exchanges, warp, warp + WARP, mask);
  return exchanged[turn][own ^ (unsigned int)far];
}

// A coroutine is one thread of every block, in turn.
static void enter(void) {
  for (;;) {
    kernel(arguments);
    finished[running] = 1;
    progress = 1;
    give_way();
  }
}

static void begin(unsigned int thread) {
  exchanges[thread] = barriers[thread] = 0;
  finished[thread] = 0;
  if (threads[thread].uc_stack.ss_sp) return;
  getcontext(&threads[thread]);
  threads[thread].uc_stack.ss_sp = stacks[thread];
  threads[thread].uc_stack.ss_size = STACK;
  makecontext(&threads[thread], enter, 0);
}

// Runs a grid of blocks. `backwards` lets the last thread of a block go first: a result that depends on it has a race.
// 0: done; 1: the threads wait for each other forever.
int host_launch(void (*function)(const void *), const void *values, const unsigned int grid[2], unsigned int block,
                int backwards) {
  kernel = function;
  arguments = values;
  gridDim = (struct dim3){grid[0], grid[1], 1};
  blockDim = (struct dim3){block, 1, 1};
  for (unsigned int index = 0; index < grid[0] * grid[1]; index++) {
    blockIdx = (struct dim3){index % grid[0], index / grid[0], 0};
    // What a device finds there is not zero.
    memset(host_shared, 0xff, sizeof host_shared);
    for (unsigned int thread = 0; thread < block; thread++) begin(thread);
    for (unsigned int left = block; left > 0;) {
      left = progress = 0;
      for (unsigned int turn = 0; turn < block; turn++) {
        running = backwards ? block - 1 - turn : turn;
        if (finished[running]) continue;
        threadIdx = (struct dim3){running, 0, 0};
        swapcontext(&scheduler, &threads[running]);
        left += !finished[running];
      }
      if (left && !progress) return 1;
    }
  }
  return 0;
}
