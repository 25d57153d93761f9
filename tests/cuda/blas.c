// A double of libcublas.so.13 beside driver.c: products of matrices in the host's memory, column by column as cuBLAS
// counts, in f32 and bf16. DOUBLE_BLAS is what making a handle answers.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { F32 = 0, BF16 = 14 };

int cublasCreate_v2(void **handle) {
    *handle = "handle";
    return getenv("DOUBLE_BLAS") ? atoi(getenv("DOUBLE_BLAS")) : 0;
}
int cublasDestroy_v2(void *handle) { return 0; }
int cublasSetStream_v2(void *handle, void *stream) { return 0; }

static float value(const void *at, int kind, long i) {
    if (kind == F32) return ((const float *)at)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

int cublasGemmStridedBatchedEx(void *handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha,
                               const void *a, int a_kind, int a_line, long long a_step, const void *b, int b_kind,
                               int b_line, long long b_step, const void *beta, void *c, int c_kind, int c_line,
                               long long c_step, int products, int computed_in, int algorithm) {
    if (products != 1 || a_kind != b_kind || a_kind != c_kind) return 15;
    for (int column = 0; column < n; column++)
        for (int row = 0; row < m; row++) {
            float sum = 0;
            for (int i = 0; i < k; i++)
                sum += value(a, a_kind, turn_a ? (long)row * a_line + i : (long)i * a_line + row) *
                       value(b, b_kind, turn_b ? (long)i * b_line + column : (long)column * b_line + i);
            long at = (long)column * c_line + row;
            // The products of the try-out are whole numbers that bf16 holds.
            if (c_kind == F32) ((float *)c)[at] = sum;
            else { uint32_t bits; memcpy(&bits, &sum, 4); ((uint16_t *)c)[at] = bits >> 16; }
        }
    return 0;
}
