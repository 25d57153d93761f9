// A double of CUDA's driver, libcuda.so.1, for machines without a card: the card's memory is the host's. The few kernels
// of Candle that are tried out are loops here; our own are their source, compiled with this file, and run as in the
// tests of compute::cuda::kernels. By the environment it is broken in every way that `bayes` has a sentence for:
//
//   DOUBLE_INIT, DOUBLE_RETAIN, DOUBLE_ALLOC, DOUBLE_LOAD   what cuInit, the context, memory or a module answer
//   DOUBLE_CARDS, DOUBLE_CUDA, DOUBLE_CAPABILITY, DOUBLE_FREE_MIB
//   DOUBLE_WRONG                                           a kernel of this name computes nothing
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef size_t N;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags) { return number("DOUBLE_INIT", 0); }
int cuDriverGetVersion(int *version) { *version = number("DOUBLE_CUDA", 13000); return 0; }
int cuGetErrorString(int error, const char **text) { *text = "an error of the double"; return 0; }
int cuDeviceGetCount(int *count) { *count = number("DOUBLE_CARDS", 1); return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Double %d", device); return 0; }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    int capability = number("DOUBLE_CAPABILITY", 90);
    *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 1;
    return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) { *context = "context"; return number("DOUBLE_RETAIN", 0); }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxDestroy_v2(void *context) { return 0; }
int cuCtxGetCurrent(void **context) { *context = "context"; return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuCtxSynchronize(void) { return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = "stream"; return 0; }
int cuStreamDestroy_v2(void *stream) { return 0; }
int cuStreamSynchronize(void *stream) { return 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return 0; }
int cuStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
// With one stream there is nothing to wait for, and no event may be made.
int cuEventCreate(void **event, unsigned flags) { return 999; }

int cuMemGetInfo_v2(N *free, N *total) {
    *free = (N)number("DOUBLE_FREE_MIB", 80000) << 20;
    *total = (N)81920 << 20;
    return 0;
}

int cuMemAllocAsync(void **pointer, N bytes, void *stream) {
    *pointer = calloc(bytes ? bytes : 1, 1);
    return number("DOUBLE_ALLOC", 0);
}
int cuMemFreeAsync(void *pointer, void *stream) { free(pointer); return 0; }
int cuMemsetD8Async(void *to, unsigned char value, N bytes, void *stream) { memset(to, value, bytes); return 0; }

static int copy(void *to, const void *from, N bytes) { memcpy(to, from, bytes); return 0; }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, N bytes, void *stream) { return copy(to, from, bytes); }
int cuMemcpyDtoHAsync_v2(void *to, const void *from, N bytes, void *stream) { return copy(to, from, bytes); }
int cuMemcpyDtoDAsync_v2(void *to, const void *from, N bytes, void *stream) { return copy(to, from, bytes); }

// A module is its text, for the names of the kernels in it.
int cuModuleLoadData(void **module, const char *image) { *module = strdup(image); return number("DOUBLE_LOAD", 0); }
int cuModuleUnload(void *module) { free(module); return 0; }

// Arguments of a kernel, as Candle's sources have them. All tensors of the try-out are contiguous.
#define SIZE(i) (*(N *)arguments[i])
#define SCALAR(i) (*(float *)arguments[i])
#define AT(type, i) (*(type **)arguments[i])
#define EACH(what) for (N i = 0; i < SIZE(0); i++) what
#define KERNEL(name) static void name(void **arguments)

static float root(float x) { float y = x; for (int i = 0; i < 60; i++) y = (y + x / y) / 2; return y; }

static uint16_t narrow(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static float wide(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

KERNEL(const_set_f32) { EACH(AT(float, 4)[i] = SCALAR(3)); }
KERNEL(affine_f32) { EACH(AT(float, 4)[i] = AT(float, 3)[i] * SCALAR(5) + SCALAR(6)); }
KERNEL(bsub_f32) { EACH(AT(float, 5)[i] = AT(float, 3)[i] - AT(float, 4)[i]); }
KERNEL(cast_f32_bf16) { EACH(AT(uint16_t, 4)[i] = narrow(AT(float, 3)[i])); }
KERNEL(cast_bf16_f32) { EACH(AT(float, 4)[i] = wide(AT(uint16_t, 3)[i])); }
KERNEL(is_u32_f32) { EACH(AT(float, 5)[i] = AT(float, 4)[AT(uint32_t, 3)[i]]); }
KERNEL(where_u8_f32) { EACH(AT(float, 6)[i] = AT(uint8_t, 3)[i] ? AT(float, 4)[i] : AT(float, 5)[i]); }
KERNEL(usqrt_f32) { EACH(AT(float, 4)[i] = root(AT(float, 3)[i])); }

static void sum(void **arguments, N values) {
    float total = 0;
    for (N i = 0; i < values; i++) total += AT(float, 4)[i];
    AT(float, 5)[0] = total;
}
KERNEL(fast_sum_small_f32) { sum(arguments, SIZE(1)); }
KERNEL(fast_sum_f32) { sum(arguments, SIZE(1)); }
KERNEL(fast_max_f32) {
    float most = AT(float, 4)[0];
    EACH(most = AT(float, 4)[i] > most ? AT(float, 4)[i] : most);
    AT(float, 5)[0] = most;
}
KERNEL(nothing) {}

#define ROW(name) {#name, name}
static const struct { const char *name; void (*run)(void **); } kernels[] = {
    ROW(const_set_f32), ROW(affine_f32), ROW(bsub_f32), ROW(cast_f32_bf16), ROW(cast_bf16_f32), ROW(is_u32_f32),
    ROW(where_u8_f32), ROW(usqrt_f32), ROW(fast_sum_small_f32), ROW(fast_sum_f32), ROW(fast_max_f32),
};

// A kernel of Candle, or one of ours: one of the two is there.
typedef struct { void (*candle)(void **); void (*ours)(const void *); } Function;

int cuModuleGetFunction(Function **function, const char *module, const char *name) {
    Function found = {0};
    char entry[256], structure[256];
    snprintf(entry, sizeof entry, ".entry %s(", name);
    snprintf(structure, sizeof structure, " %s_param_0[", name);
    if (strstr(module, structure)) {
        // Kernels of ours alone take a structure, by which a `softmax_f32` is known from Candle's.
        void *symbol = dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), name);
        found.ours = (void (*)(const void *))symbol;
    } else if (strstr(module, entry))
        for (N i = 0; i < sizeof kernels / sizeof *kernels; i++)
            if (!strcmp(kernels[i].name, name)) found.candle = kernels[i].run;
    if (!found.candle && !found.ours) {
        fprintf(stderr, "the double has no kernel %s\n", name);
        return 500;
    }
    const char *wrong = getenv("DOUBLE_WRONG");
    if (wrong && !strcmp(wrong, name)) found.candle = nothing;
    *function = malloc(sizeof found);
    **function = found;
    return 0;
}

// src/compute/cuda/source/host.c
int host_launch(void (*kernel)(const void *), const void *argument, const unsigned grid[2], unsigned block, int backwards);

int cuLaunchKernel(const Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    if (function->candle) function->candle(arguments);
    // One argument, a structure; and no more than a card has.
    else if (gz * by * bz != 1 || bx > 256 || gy >= 1 << 16 || shared > 48 * 1024) return 1;
    else if (host_launch(function->ours, arguments[0], (unsigned[]){gx, gy}, bx, 0)) return 702;
    return 0;
}
