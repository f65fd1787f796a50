/* Estimated bits: adaptive binary events as an arithmetic coder would see them, in 1/256 bit. */
#include "bc.h"
#include "bc_tables.h"

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

/* A context holds 65536 x the probability of a 1. */
uint32_t bc_bit_cost(uint16_t context, int bit) {
    uint32_t p = context >> 9;
    return BC_COST[bit ? p : 127 - p];
}

/* The cost of an event, after which its context has moved towards it by 2^-rate. */
uint32_t bc_put(uint16_t *context, int bit, int rate) {
    uint32_t cost = bc_bit_cost(*context, bit);
    if (bit)
        *context = (uint16_t)(*context + ((65535 - *context) >> rate));
    else
        *context = (uint16_t)(*context - (*context >> rate));
    return cost;
}

void bc_reset_contexts(bc_contexts *ctx) {
    uint16_t *all = (uint16_t *)ctx;
    for (size_t i = 0; i < sizeof *ctx / sizeof *all; i++) all[i] = 32768;
}

static uint32_t event(uint16_t *context, int bit, int commit, int rate) {
    return commit ? bc_put(context, bit, rate) : bc_bit_cost(*context, bit);
}

static int floor_log2(unsigned v) {
    int n = 0;
    while (v >>= 1) n++;
    return n;
}

/* Bits x 256 of the quantised 8 x 8 block. neighbours: how many of the left and upper cell have levels.
 * commit: let the contexts learn from it. */
uint32_t bc_level_bits(bc_contexts *ctx, const int16_t *levels, int intra, int neighbours, int commit, int rate) {
    int last = 63;
    while (last >= 0 && !levels[BC_SCAN[last]]) last--;
    uint32_t bits = event(&ctx->cbf[intra][neighbours], last >= 0, commit, rate);
    if (last < 0) return bits;
    /* The last position: its magnitude class in unary, then its place in the class. */
    int class = floor_log2((unsigned)last + 1);
    for (int i = 0; i < 6; i++) {
        bits += event(&ctx->last[intra][i], i < class, commit, rate);
        if (i == class) break;
    }
    bits += 256u * (uint32_t)class;
    int ones = 1, large = 0;
    for (int n = last; n >= 0; n--) {
        const int at = BC_SCAN[n], u = at & 7, v = at >> 3;
        const int magnitude = levels[at] < 0 ? -levels[at] : levels[at];
        if (n < last) {
            int near = (u < 7 && levels[at + 1]) + (v < 7 && levels[at + 8]) + (u < 7 && v < 7 && levels[at + 9]);
            int place = n == 0 ? 0 : n < 6 ? 1 : n < 21 ? 2 : 3;
            bits += event(&ctx->sig[intra][place][near], magnitude != 0, commit, rate);
        }
        if (!magnitude) continue;
        bits += 256; /* sign */
        int state = large ? 0 : ones;
        bits += event(&ctx->one[intra][state], magnitude > 1, commit, rate);
        if (magnitude == 1) {
            if (ones < 3) ones++;
            continue;
        }
        large = 1;
        bits += event(&ctx->two[intra], magnitude > 2, commit, rate);
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
