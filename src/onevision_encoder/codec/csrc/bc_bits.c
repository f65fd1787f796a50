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

/* Diagonals of the 8 x 8 levels as bits of their raster index, and where each begins in BC_SCAN. */
static const uint64_t DIAGONAL[15] = {
    0x0000000000000001u, 0x0000000000000102u, 0x0000000000010204u, 0x0000000001020408u, 0x0000000102040810u,
    0x0000010204081020u, 0x0001020408102040u, 0x0102040810204080u, 0x0204081020408000u, 0x0408102040800000u,
    0x0810204080000000u, 0x1020408000000000u, 0x2040800000000000u, 0x4080000000000000u, 0x8000000000000000u,
};
static const uint8_t BEGIN[16] = {0, 1, 3, 6, 10, 15, 21, 28, 36, 43, 49, 54, 58, 61, 63, 64};

/* Place in BC_SCAN of the last level that is not 0. */
static int last_level(uint64_t nonzero) {
    int s = 14;
    while (!(nonzero & DIAGONAL[s])) s--;
    int n = BEGIN[s + 1] - 1;
    while (!(nonzero >> BC_SCAN[n] & 1)) n--;
    return n;
}

/* Which of the levels that decide a context: by place in BC_SCAN. */
static const uint8_t PLACE[64] = {0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
                                  3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3};

/* Bits x 256 of the quantised 8 x 8 block, from which the contexts learn. nonzero: bit i = level i is not 0.
 * neighbours: how many of the left and upper cell have levels. */
uint32_t bc_level_bits(bc_contexts *ctx, const int16_t *levels, uint64_t nonzero, int intra, int neighbours, int rate) {
    uint32_t bits = bc_event(&ctx->cbf[intra][neighbours], nonzero != 0, 1, rate);
    if (!nonzero) return bits;
    const int last = last_level(nonzero);
    /* The last position: its magnitude class in unary, then its place in the class. */
    const int class = floor_log2((unsigned)last + 1);
    for (int i = 0; i < 6; i++) {
        bits += bc_event(&ctx->last[intra][i], i < class, 1, rate);
        if (i == class) break;
    }
    bits += 256u * (uint32_t)class;
    /* How many of the levels to the right, below, and below right are not 0: two planes of bits. */
    const uint64_t inner = 0x7f7f7f7f7f7f7f7fu;
    const uint64_t right = nonzero >> 1 & inner, below = nonzero >> 8, both = nonzero >> 9 & inner;
    const uint64_t odd = right ^ below ^ both, two = (right & below) | (both & (right | below));
    uint8_t found[64]; /* places of levels that are not 0, the last first; written without a branch */
    int count = 1;
    found[0] = BC_SCAN[last];
    for (int n = last - 1; n >= 0; n--) {
        const int at = BC_SCAN[n], present = (int)(nonzero >> at & 1);
        const int near = (int)((odd >> at & 1) + 2 * (two >> at & 1));
        bits += bc_event(&ctx->sig[intra][PLACE[n]][near], present, 1, rate);
        found[count] = (uint8_t)at;
        count += present;
    }
    bits += 256u * (uint32_t)count; /* signs */
    int state = 1;
    for (int i = 0; i < count; i++) {
        const int level = levels[found[i]], magnitude = level < 0 ? -level : level;
        bits += bc_event(&ctx->one[intra][state], magnitude > 1, 1, rate);
        if (magnitude == 1) {
            state += state && state < 3;
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
