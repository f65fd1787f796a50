/* Shared declarations of the block coder. What it does is written down in bc_coder.c. */
#ifndef BC_H
#define BC_H

#include <stddef.h>
#include <stdint.h>

#include "bc_tables.h"

#define BC_PAD 32      /* pixels of replicated border round a reference plane */
#define BC_REACH 24    /* a block may begin or end this far outside the picture */
#define BC_MAX_MV 1020 /* longest vector component, quarter pixels */

typedef struct {
    int16_t x, y; /* quarter pixels; the prediction of (x, y) is the reference at (x, y) + mv */
} bc_mv;

typedef struct {
    bc_mv mv;
    uint8_t inter, skip, coded;
} bc_cell;

/* Constants of the coder. */
typedef struct {
#define P(name, value, low, high) int32_t name;
#include "bc_parameters.h"
#undef P
} bc_parameters;

enum { BC_PLANE_FULL, BC_PLANE_RIGHT, BC_PLANE_DOWN, BC_PLANE_BOTH };

typedef struct {
    int (*sad16)(const uint8_t *a, int as, const uint8_t *b, int bs);
    int (*sad8)(const uint8_t *a, int as, const uint8_t *b, int bs);
    int (*satd8)(const uint8_t *a, int as, const uint8_t *b, int bs);
    int (*sad_mean[2])(const uint8_t *s, int ss, const uint8_t *a, const uint8_t *b, int stride); /* sides 8, 16 */
    void (*mean[2])(uint8_t *out, const uint8_t *a, const uint8_t *b, int stride);
    void (*forward)(int16_t *coefficients, const int16_t *residual);
    void (*inverse)(int16_t *residual, const int16_t *coefficients);
    uint32_t (*subtract)(int16_t *residual, const uint8_t *s, int ss, const uint8_t *prediction, int *sad);
    uint64_t (*quantise)(int16_t *levels, int16_t *coefficients, int round, int step16);
    uint32_t (*rebuild)(uint8_t *recon, const uint8_t *prediction, const int16_t *residual, const uint8_t *s, int ss,
                        int *change);
    void (*six_tap)(uint8_t *out, const uint8_t *in, ptrdiff_t step, int n); /* may write up to 15 pixels more */
    uint32_t (*squared16)(const uint8_t *s, int ss, const uint8_t *block);
} bc_kernels;

typedef struct {
    uint16_t skip[3], split, inter[2], merge, which_merge, mvd_zero[2], intra_mode;
    uint16_t cbf[2][3], last[2][7], sig[2][4][4], one[2][4], two[2];
} bc_contexts;

typedef struct {
    int T, H, W;            /* frames, pixels */
    int h, w;               /* cells of 8 x 8 */
    int ph, pw;             /* pixels rounded up to multiples of 16 */
    int stride;             /* of reference planes */
    int cell_stride, cells; /* cell arrays have one column of border right, one left, one row above */
    bc_parameters p;
    const bc_kernels *k;
    void *memory[16];
    int allocated;
    uint8_t *source;        /* [ph][pw] */
    uint8_t *before;        /* [ph][pw], the source frame before */
    uint8_t *planes[4];     /* the reference: full, half right, half down, half both; pointer at pixel (0, 0) */
    uint8_t *recon;         /* the frame being coded, same layout as planes[0] */
    bc_cell *cell, *cell_before;
    bc_contexts ctx;
    uint16_t *mv_bits;      /* [2 * BC_MAX_MV * 2 + 1], bits x 256 of a vector difference */
    bc_mv global;           /* candidate vector for the whole picture */
    int search_global;
    int noise, noise_before; /* sixteenths of a grey level */
    uint32_t *cell_bits;    /* [h][w] x 256 */
    uint16_t *cell_residual;/* [h][w] sums */
    uint16_t *cell_error;   /* [h][w] sums of |source - prediction|; 0 where skipped, 65535 where intra */
    uint8_t *textured;      /* [h][w], of the cut rule */
} bc_coder;

/* bc_kernels.c */
const bc_kernels *bc_kernels_for(int scalar);
int bc_simd(void);

/* bc_planes.c */
void bc_load_source(bc_coder *c, const uint8_t *luma);
void bc_make_reference(bc_coder *c);
int bc_samples(const bc_coder *c, int x, int y, bc_mv mv, const uint8_t **a, const uint8_t **b);
const uint8_t *bc_block(const bc_coder *c, int x, int y, bc_mv mv, int size, uint8_t *buffer, int *stride);
void bc_predict(const bc_coder *c, int x, int y, bc_mv mv, int size, uint8_t *out);

/* bc_bits.c */
int bc_log2(uint32_t value);
/* A context holds 65536 x the probability of a 1. */
static inline uint32_t bc_bit_cost(uint16_t context, int bit) {
    uint32_t p = context >> 9;
    return BC_COST[bit ? p : 127 - p];
}
/* The cost of an event; with commit, the context moves towards it by 2^-rate. */
static inline uint32_t bc_event(uint16_t *context, int bit, int commit, int rate) {
    uint32_t cost = bc_bit_cost(*context, bit);
    if (commit) *context = (uint16_t)(bit ? *context + ((65535 - *context) >> rate) : *context - (*context >> rate));
    return cost;
}
void bc_reset_contexts(bc_contexts *ctx);
uint32_t bc_level_bits(bc_contexts *ctx, const int16_t *levels, uint64_t nonzero, int intra, int neighbours, int rate);
void bc_fill_mv_bits(uint16_t *table);

/* bc_search.c */
int bc_search(const bc_coder *c, int x, int y, int size, bc_mv predictor, const bc_mv *starts, int count, int lambda,
              int still, bc_mv *best);
bc_mv bc_clamp(const bc_coder *c, int x, int y, int size, bc_mv mv);
static inline uint32_t bc_mv_cost(const bc_coder *c, bc_mv mv, bc_mv predictor) {
    return (uint32_t)c->mv_bits[mv.x - predictor.x + 2 * BC_MAX_MV] + c->mv_bits[mv.y - predictor.y + 2 * BC_MAX_MV];
}

/* bc_noise.c */
void bc_noise(const bc_coder *c, int *space, int *time);

/* bc_intra.c */
int bc_intra(const bc_coder *c, int x, int y, uint8_t *out, int *mode);

/* bc_coder.c */
extern const bc_parameters BC_DEFAULTS;
bc_coder *bc_new(int H, int W, const bc_parameters *p, int scalar);
void bc_free(bc_coder *c);
void bc_next_frame(bc_coder *c);
void bc_code_frame(bc_coder *c, int intra);

/* bc_cut.c */
enum { BC_SAME_SCENE, BC_SHIFTED, BC_CUT };
int bc_scene(bc_coder *c);

/* bc_clip.c: outputs are [T][h][w]; motion [T][h][w][2]; returns 0, or -1 when memory runs out. */
int bc_code_clip(const uint8_t *luma, int T, int H, int W, const bc_parameters *p, int scalar, float *bits,
                 float *residual, float *motion, uint8_t *intra, uint8_t *cut);

#endif
