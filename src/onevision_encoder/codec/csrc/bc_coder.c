/* The coder of one frame: decides every 16 x 16 block, codes it, and counts bits.
 *
 * The same algorithm in Python, to be read: codec/twin. In words, constants in bc_parameters.h; all arithmetic is integer,
 * bits are in 1/256, vectors in quarter pixels, a cell is 8 x 8 pixels:
 *
 * Picture. Sides are rounded up to multiples of 16, the border repeated. The reference is the coded frame before with
 * half-pel planes (H.264's six taps; the plane between both directions is filtered from the rounded one); quarter
 * positions are means of two samples. A block may begin or end 24 pixels outside.
 *
 * Noise (bc_noise.c). The quantiser's step is at least `noise` times the deviation of the sensor noise, and still_from,
 * split_from and intra_from grow with it: noise is not predictable, and coding it would fill the reference with noise.
 *
 * Frame 0 and cuts: every cell intra (below). Other frames, per 16 x 16 block in raster order:
 * 1. Merge list: still, the vectors of the cells left, above, above right, and of the block's own last cell in the frame
 *    before, those that are inter, each once. The first `merges` are tried by SATD + lambda x (1, 2, 3 bits by place).
 * 2. Up to `still_from` the best of them is taken without residual: skip.
 * 3. Otherwise a vector: the merge vector (+ 1 bit) against a searched one (+ 2 bits + difference from the median of left,
 *    above, above right). The search takes SAD + lambda_search x bits over still, the list and the median; from the best
 *    whole pixel hexagons (at most 16) and a square; then crosses of half and quarter pixels, which count only if they
 *    save gain / 64 of the cost: interpolation alone smooths noise.
 * 4. Above a SATD of `split_from` the same for each cell; four vectors are taken if SATD + lambda x bits (+ 2) is less.
 * 5. Each cell: above a SATD of `intra_from` intra is tried: mean, smooth, horizontal, vertical from coded neighbours, the
 *    best by SATD, taken if SATD + lambda x 4 bits is less.
 * 6. The residual goes through H.265's 8 x 8 integer transform and a uniform quantiser; the levels are kept if squared
 *    error + lambda_rate x bits is less than without them.
 * 7. If skip costs no more by the same measure over the whole block, it is skipped after all and everything undone.
 *
 * Bits: adaptive binary contexts (bc_bits.c) for skip, split, inter, merge, the place in the list, the levels. Contexts
 * start at 1/2 and live on from frame to frame. A block's header is shared evenly by its four cells. */
#include "bc.h"

#include <stdlib.h>
#include <string.h>

const bc_parameters BC_DEFAULTS = {
#define P(name, value, low, high) value,
#include "bc_parameters.h"
#undef P
};

/* What coding one 8 x 8 cell came to. */
typedef struct {
    bc_mv mv;
    int inter, merge, which, mode, any, neighbours;
    bc_mv predictor;
    int16_t levels[64];
    uint8_t prediction[64], recon[64];
    uint32_t squared, bits;
    int residual, error;
} coded;

typedef struct {
    int step16, lambda, lambda_search, round_inter, round_intra, still_from, split_from, intra_from;
    uint32_t lambda_rate; /* x 256, per bit */
} rates;

/* A step of qp eighths of a QP, 64 to 400: 1.6 to 203 grey levels, x 16. */
static int step_for(int qp) { return (int)(((uint32_t)BC_STEP[(qp - 32) % 48] << ((qp - 32) / 48)) >> 6); }

/* Steps below the noise would code the noise: they are raised to `noise` times its deviation, and with them everything
 * that weighs errors. */
static rates rates_for(const bc_coder *c, int intra) {
    rates r;
    const int plain = step_for(c->p.qp_inter), limit = step_for(400), coarse = c->p.noise * c->noise / 16;
    const int step = coarse < plain ? plain : coarse > limit ? limit : coarse;
    r.step16 = intra ? step_for(c->p.qp_intra) * step / plain : step;
    if (r.step16 > limit) r.step16 = limit;
    r.still_from = c->p.still_from * step / plain;
    r.split_from = c->p.split_from * step / plain;
    r.intra_from = c->p.intra_from * step / plain;
    r.lambda = c->p.lambda * r.step16 / 16;
    r.lambda_search = c->p.lambda_search * r.step16 / 16;
    r.lambda_rate = (uint32_t)c->p.lambda_rate * (uint32_t)(r.step16 * r.step16) / 256;
    r.round_inter = c->p.round_inter * r.step16 / 256;
    r.round_intra = c->p.round_intra * r.step16 / 256;
    return r;
}

static uint64_t price(uint32_t squared, uint32_t bits, uint32_t lambda_rate) {
    return ((uint64_t)squared << 16) + (uint64_t)bits * lambda_rate;
}

/* Residual of b->prediction through transform and quantiser; keeps the levels only if they pay. */
static void code_residual(bc_coder *c, coded *b, int x, int y, const rates *r) {
    const uint8_t *source = c->source + (ptrdiff_t)y * c->pw + x;
    int16_t residual[64], transformed[64];
    b->squared = c->k->subtract(residual, source, c->pw, b->prediction, &b->error);
    b->any = 0, b->residual = 0;
    memcpy(b->recon, b->prediction, 64);
    uint64_t nonzero = 0;
    if (16 * b->error >= 3 * r->step16) { /* otherwise no coefficient reaches the first level */
        c->k->forward(transformed, residual);
        nonzero = c->k->quantise(b->levels, transformed, b->inter ? r->round_inter : r->round_intra, r->step16);
    }
    uint16_t *coded_context = &c->ctx.cbf[!b->inter][b->neighbours];
    if (!nonzero) {
        b->bits = bc_event(coded_context, 0, 1, c->p.rate);
        return;
    }
    c->k->inverse(residual, transformed);
    uint8_t recon[64];
    int change;
    const uint32_t squared = c->k->rebuild(recon, b->prediction, residual, source, c->pw, &change);
    const bc_contexts kept = c->ctx;
    const uint32_t none = bc_bit_cost(*coded_context, 0);
    const uint32_t bits = bc_level_bits(&c->ctx, b->levels, nonzero, !b->inter, b->neighbours, c->p.rate);
    if (price(b->squared, none, r->lambda_rate) <= price(squared, bits, r->lambda_rate)) {
        c->ctx = kept;
        b->bits = bc_event(coded_context, 0, 1, c->p.rate);
        return;
    }
    b->any = 1, b->residual = change, b->squared = squared, b->bits = bits;
    memcpy(b->recon, recon, 64);
}

static bc_cell *cell_at(const bc_coder *c, int x, int y) {
    return c->cell + (ptrdiff_t)(y / 8 + 1) * c->cell_stride + x / 8 + 1;
}

static void add_unique(bc_mv *list, int *n, bc_mv mv) {
    for (int i = 0; i < *n; i++)
        if (list[i].x == mv.x && list[i].y == mv.y) return;
    list[(*n)++] = mv;
}

/* Vectors that cost next to nothing: still, left, above, above right, and the block's own of a frame ago. Still comes
 * first, so that a flat area next to something that moves does not move along. */
static int merge_list(const bc_coder *c, int x, int y, int size, bc_mv *list) {
    const bc_cell *here = cell_at(c, x, y);
    const int last = size / 8 - 1;
    const bc_cell *around[4] = {here + last * c->cell_stride - 1, here - c->cell_stride + last,
                                here - c->cell_stride + last + 1,
                                c->cell_before + (here - c->cell) + last * (c->cell_stride + 1)};
    int n = 0;
    bc_mv still = {0, 0};
    add_unique(list, &n, still);
    for (int i = 0; i < 4; i++)
        if (around[i]->inter) add_unique(list, &n, bc_clamp(c, x, y, size, around[i]->mv));
    return n;
}

static int middle(int a, int b, int d) {
    int low = a < b ? a : b, high = a < b ? b : a;
    return d < low ? low : d > high ? high : d;
}

static bc_mv median(const bc_coder *c, int x, int y, int size) {
    const bc_cell *here = cell_at(c, x, y), *a = here - 1, *b = here - c->cell_stride, *d = b + size / 8;
    bc_mv mv = {(int16_t)middle(a->mv.x, b->mv.x, d->mv.x), (int16_t)middle(a->mv.y, b->mv.y, d->mv.y)};
    return bc_clamp(c, x, y, size, mv);
}

static int satd(const bc_coder *c, int x, int y, bc_mv mv, int size) {
    uint8_t buffer[256];
    int stride, sum = 0;
    const uint8_t *block = bc_block(c, x, y, mv, size, buffer, &stride);
    const uint8_t *source = c->source + (ptrdiff_t)y * c->pw + x;
    for (int j = 0; j < size; j += 8)
        for (int i = 0; i < size; i += 8)
            sum += c->k->satd8(source + j * c->pw + i, c->pw, block + j * stride + i, stride);
    return sum;
}

static uint32_t which_bits(int which, int count) { return count < 2 ? 0 : 256u * (uint32_t)(which < 2 ? which + 1 : 3); }

/* The merge list of a block and the best of it, by SATD and the bits of its place. */
typedef struct {
    bc_mv list[12];
    int count, tried, best, cost, distortion;
} merges;

static void try_merges(const bc_coder *c, int x, int y, int size, const rates *r, merges *m) {
    m->count = merge_list(c, x, y, size, m->list);
    m->tried = m->count < c->p.merges ? m->count : c->p.merges;
    m->cost = 1 << 30;
    for (int i = 0; i < m->tried; i++) {
        int d = satd(c, x, y, m->list[i], size);
        int cost = d + (int)((which_bits(i, m->tried) * (uint32_t)r->lambda) >> 16);
        if (cost < m->cost) m->cost = cost, m->distortion = d, m->best = i;
    }
}

/* The best vector of a block: of the merge list, or searched. Returns SATD + lambda x bits; *distortion is the SATD. */
static int choose_vector(bc_coder *c, int x, int y, int size, const rates *r, merges *m, bc_mv extra, coded *b,
                         int *distortion) {
    const int cost = m->cost + (int)((256u * (uint32_t)r->lambda) >> 16);
    b->inter = 1, b->any = 0;
    b->predictor = median(c, x, y, size);
    b->mv = m->list[m->best], b->merge = 1, b->which = m->best;
    *distortion = m->distortion;
    const int still = r->still_from >> (size == 8 ? 2 : 0);
    if (cost <= still) return cost;
    add_unique(m->list, &m->count, bc_clamp(c, x, y, size, extra));
    add_unique(m->list, &m->count, b->predictor);
    if (c->search_global) add_unique(m->list, &m->count, bc_clamp(c, x, y, size, c->global));
    bc_mv found;
    bc_search(c, x, y, size, b->predictor, m->list, m->count, r->lambda_search, still, &found);
    if (found.x == b->mv.x && found.y == b->mv.y) return cost;
    const int d = satd(c, x, y, found, size);
    const int searched = d + (int)(((512 + bc_mv_cost(c, found, b->predictor)) * (uint32_t)r->lambda) >> 16);
    if (searched >= cost) return cost;
    b->mv = found, b->merge = 0, *distortion = d;
    return searched;
}

static int count_levels(const bc_coder *c, int x, int y) {
    const bc_cell *here = cell_at(c, x, y);
    return (here[-1].coded != 0) + (here[-c->cell_stride].coded != 0);
}

static void note(const bc_coder *c, int x, int y, const coded *b) {
    bc_cell *cell = cell_at(c, x, y);
    cell->mv = b->mv, cell->inter = (uint8_t)b->inter, cell->coded = (uint8_t)b->any, cell->skip = 0;
}

static void write_recon(const bc_coder *c, int x, int y, const uint8_t *block) {
    uint8_t *out = c->recon + (ptrdiff_t)y * c->stride + x;
    for (int j = 0; j < 8; j++) memcpy(out + (ptrdiff_t)j * c->stride, block + 8 * j, 8);
}

/* Bits of how a block is predicted. */
static uint32_t prediction_bits(bc_coder *c, const coded *b, int commit) {
    bc_contexts *ctx = &c->ctx;
    const int rate = c->p.rate;
    uint32_t bits = bc_event(&ctx->inter[0], b->inter, commit, rate);
    if (!b->inter) return bits + 512;
    bits += bc_event(&ctx->merge, b->merge, commit, rate);
    if (b->merge) return bits + bc_event(&ctx->which_merge, b->which > 0, commit, rate) + (b->which > 0 ? 256u : 0u);
    return bits + bc_mv_cost(c, b->mv, b->predictor);
}

/* Codes one cell with its inter prediction, or intra where that is cheaper. */
static void code_cell(bc_coder *c, int x, int y, const rates *r, coded *b, int intra_frame, int distortion) {
    b->neighbours = count_levels(c, x, y);
    if (!intra_frame) bc_predict(c, x, y, b->mv, 8, b->prediction);
    if (intra_frame || distortion > r->intra_from) {
        uint8_t block[64];
        int mode = 0, d = bc_intra(c, x, y, block, &mode);
        int cost = d + (int)((1024u * (uint32_t)r->lambda) >> 16);
        if (intra_frame || cost < distortion) {
            bc_mv still = {0, 0};
            b->inter = b->merge = 0, b->mode = mode, b->mv = still;
            memcpy(b->prediction, block, 64);
        }
    }
    code_residual(c, b, x, y, r);
    write_recon(c, x, y, b->recon);
    note(c, x, y, b);
}

static void output(bc_coder *c, int x, int y, uint32_t bits, int residual, int error) {
    if (y / 8 >= c->h || x / 8 >= c->w) return;
    size_t i = (size_t)(y / 8) * c->w + x / 8;
    c->cell_bits[i] = bits, c->cell_residual[i] = (uint16_t)residual, c->cell_error[i] = (uint16_t)error;
}

static void code_intra_block(bc_coder *c, int x, int y, const rates *r) {
    for (int i = 0; i < 4; i++) {
        coded b;
        memset(&b, 0, sizeof b);
        int u = x + 8 * (i & 1), v = y + 8 * (i >> 1);
        code_cell(c, u, v, r, &b, 1, 0);
        output(c, u, v, 512 + b.bits, b.residual, 0xffff);
    }
}

static void code_block(bc_coder *c, int x, int y, const rates *r) {
    coded whole, part[4];
    int distortion = 0, quarter[4];
    bc_cell *here = cell_at(c, x, y);
    uint16_t *skip_context = &c->ctx.skip[here[-1].skip + here[-c->cell_stride].skip];
    /* Skip: the best of the merge list, without a residual. */
    merges m;
    try_merges(c, x, y, 16, r, &m);
    const int best_merge = m.best;
    uint8_t skipped[256];
    bc_predict(c, x, y, m.list[best_merge], 16, skipped);
    uint32_t skip_squared = c->k->squared16(c->source + (ptrdiff_t)y * c->pw + x, c->pw, skipped);
    uint32_t skip_bits = bc_bit_cost(*skip_context, 1) + bc_bit_cost(c->ctx.which_merge, best_merge > 0) + (best_merge > 0 ? 256 : 0);
    int skip = m.cost <= r->still_from;
    const bc_contexts kept = c->ctx;
    int split = 0;
    if (!skip) {
        bc_mv none = {0, 0};
        int cost = choose_vector(c, x, y, 16, r, &m, none, &whole, &distortion);
        if (distortion > r->split_from) {
            int sum = (int)((512u * (uint32_t)r->lambda) >> 16);
            for (int i = 0; i < 4; i++) {
                int u = x + 8 * (i & 1), v = y + 8 * (i >> 1);
                merges of_part;
                try_merges(c, u, v, 8, r, &of_part);
                sum += choose_vector(c, u, v, 8, r, &of_part, whole.mv, &part[i], &quarter[i]);
                note(c, u, v, &part[i]);
            }
            split = sum < cost;
        }
        uint32_t bits = 0, squared = 0;
        if (!split)
            for (int i = 0; i < 4; i++) {
                part[i] = whole;
                quarter[i] = satd(c, x + 8 * (i & 1), y + 8 * (i >> 1), whole.mv, 8);
            }
        int intras = 0;
        for (int i = 0; i < 4; i++) {
            int u = x + 8 * (i & 1), v = y + 8 * (i >> 1);
            code_cell(c, u, v, r, &part[i], 0, quarter[i]);
            intras += !part[i].inter;
            bits += part[i].bits, squared += part[i].squared;
        }
        if (intras) split = 1;
        bits += bc_bit_cost(*skip_context, 0) + bc_bit_cost(c->ctx.split, split);
        for (int i = 0; i < (split ? 4 : 1); i++) bits += prediction_bits(c, &part[i], 0);
        skip = price(skip_squared, skip_bits, r->lambda_rate) <= price(squared, bits, r->lambda_rate);
    }
    if (skip) {
        c->ctx = kept;
        uint32_t bits = bc_event(skip_context, 1, 1, c->p.rate) + bc_event(&c->ctx.which_merge, best_merge > 0, 1, c->p.rate) + (best_merge > 0 ? 256 : 0);
        for (int i = 0; i < 4; i++) {
            int u = x + 8 * (i & 1), v = y + 8 * (i >> 1);
            bc_cell *cell = cell_at(c, u, v);
            cell->mv = m.list[best_merge], cell->inter = cell->skip = 1, cell->coded = 0;
            output(c, u, v, bits / 4, 0, 0);
        }
        for (int j = 0; j < 16; j++) memcpy(c->recon + (ptrdiff_t)(y + j) * c->stride + x, skipped + 16 * j, 16);
        return;
    }
    uint32_t head = bc_event(skip_context, 0, 1, c->p.rate) + bc_event(&c->ctx.split, split, 1, c->p.rate);
    if (!split) head += prediction_bits(c, &part[0], 1);
    for (int i = 0; i < 4; i++) {
        uint32_t bits = head / 4 + part[i].bits;
        if (split) bits += prediction_bits(c, &part[i], 1);
        output(c, x + 8 * (i & 1), y + 8 * (i >> 1), bits, part[i].residual, part[i].inter ? part[i].error : 0xffff);
    }
}

/* What was coded last becomes the past. */
void bc_next_frame(bc_coder *c) {
    bc_cell *spare = c->cell_before;
    c->cell_before = c->cell;
    c->cell = spare;
    bc_make_reference(c);
}

/* Codes c->source; the outputs are in c->cell_bits, c->cell_residual, c->cell_error and c->cell. Changes nothing that
 * bc_next_frame has not made the past, but for the contexts. */
void bc_code_frame(bc_coder *c, int intra) {
    memset(c->cell, 0, (size_t)c->cells * sizeof *c->cell);
    const rates r = rates_for(c, intra);
    for (int y = 0; y < c->ph; y += 16)
        for (int x = 0; x < c->pw; x += 16) {
            if (intra)
                code_intra_block(c, x, y, &r);
            else
                code_block(c, x, y, &r);
        }
}
