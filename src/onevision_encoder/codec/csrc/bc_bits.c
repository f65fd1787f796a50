/* Estimated bits: adaptive binary events as an arithmetic coder would see them, in 1/256 bit. */
#include "bc.h"

#include <stddef.h>

/* 256 log2(value), value >= 1. */
int bc_log2(uint32_t value) {
    int exponent = 0;
    while (value >> (exponent + 1)) exponent++;
    uint32_t mantissa = exponent > 16 ? value >> (exponent - 16) : value << (16 - exponent);
    mantissa -= 1u << 16;
    uint32_t i = mantissa >> 10, f = mantissa & 1023;
    return exponent * 256 + (int)((BC_LOG2[i] * (1024 - f) + BC_LOG2[i + 1] * f + 512) >> 10);
}

void bc_reset_contexts(bc_contexts *ctx) {
    uint16_t *all = (uint16_t *)ctx;
    for (size_t i = 0; i < sizeof *ctx / sizeof *all; i++) all[i] = 32768;
}

static int floor_log2(unsigned v) {
    int n = 0;
    while (v >>= 1) n++;
    return n;
}

/* Bits x 256 of the quantised 8 x 8 block, from which the contexts learn. nonzero: bit i = level i is not 0.
 * neighbours: how many of the left and upper cell have levels. */
uint32_t bc_level_bits(bc_contexts *ctx, const int16_t *levels, uint64_t nonzero, int intra, int neighbours, int rate) {
    uint32_t bits = bc_event(&ctx->cbf[intra][neighbours], nonzero != 0, 1, rate);
    if (!nonzero) return bits;
    int last = 63;
    while (!(nonzero >> BC_SCAN[last] & 1)) last--;
    /* The last position: its magnitude class in unary, then its place in the class. */
    const int class = floor_log2((unsigned)last + 1);
    for (int i = 0; i < 6; i++) {
        bits += bc_event(&ctx->last[intra][i], i < class, 1, rate);
        if (i == class) break;
    }
    bits += 256u * (uint32_t)class;
    /* Is the level to the right, below, and below right another 0? */
    const uint64_t inner = 0x7f7f7f7f7f7f7f7fu;
    const uint64_t right = nonzero >> 1 & inner, below = nonzero >> 8, both = nonzero >> 9 & inner;
    int state = 1;
    for (int n = last; n >= 0; n--) {
        const int at = BC_SCAN[n], present = (int)(nonzero >> at & 1);
        if (n < last) {
            const int near = (int)((right >> at & 1) + (below >> at & 1) + (both >> at & 1));
            const int place = n == 0 ? 0 : n < 6 ? 1 : n < 21 ? 2 : 3;
            bits += bc_event(&ctx->sig[intra][place][near], present, 1, rate);
        }
        if (!present) continue;
        const int magnitude = levels[at] < 0 ? -levels[at] : levels[at];
        bits += 256 + bc_event(&ctx->one[intra][state], magnitude > 1, 1, rate); /* 256: the sign */
        if (magnitude == 1) {
            if (state && state < 3) state++;
            continue;
        }
        state = 0;
        bits += bc_event(&ctx->two[intra], magnitude > 2, 1, rate);
        if (magnitude > 2) bits += 256u * (uint32_t)(2 * floor_log2((unsigned)magnitude - 2) + 1);
    }
    return bits;
}

/* Bits x 256 of one component of a vector difference, by its value + 2 BC_MAX_MV. */
void bc_fill_mv_bits(uint16_t *table) {
    for (int d = 0; d <= 2 * BC_MAX_MV; d++) {
        int bits = d ? 2 * bc_log2((uint32_t)d + 1) + 256 : 128;
        table[2 * BC_MAX_MV - d] = table[2 * BC_MAX_MV + d] = (uint16_t)bits;
    }
}
