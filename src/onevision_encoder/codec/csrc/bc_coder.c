/* The coder of one frame: decides every 16 x 16 block, codes it, and counts bits. */
#include "bc.h"
#include "bc_tables.h"

#include <stdlib.h>
#include <string.h>

const bc_parameters BC_DEFAULTS = {
#define P(name, value) value,
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
    int step16, lambda, lambda_search, round_inter, round_intra;
    uint32_t lambda_rate; /* x 256, per bit */
} rates;

static int16_t clip16(int v) { return (int16_t)(v > 32767 ? 32767 : v); }

static rates rates_for(const bc_coder *c, int qp) {
    rates r;
    qp = qp < 64 ? 64 : qp > 400 ? 400 : qp;
    r.step16 = (int)(((uint32_t)BC_STEP[(qp - 32) % 48] << ((qp - 32) / 48)) >> 6);
    r.lambda = c->p.lambda * r.step16 / 16;
    r.lambda_search = c->p.lambda_search * r.step16 / 16;
    r.lambda_rate = (uint32_t)((uint64_t)c->p.lambda_rate * (uint32_t)(r.step16 * r.step16) / 256);
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
    uint32_t zero = 0;
    int sum = 0;
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 8; i++) {
            int d = source[j * c->pw + i] - b->prediction[8 * j + i];
            residual[8 * j + i] = (int16_t)d;
            zero += (uint32_t)(d * d);
            sum += d < 0 ? -d : d;
        }
    b->any = 0, b->residual = 0, b->squared = zero, b->error = sum;
    memcpy(b->recon, b->prediction, 64);
    b->bits = bc_bit_cost(c->ctx.cbf[!b->inter][b->neighbours], 0);
    if (16 * sum < 3 * r->step16) return; /* no coefficient reaches the first level */
    c->k->forward(transformed, residual);
    const int round = b->inter ? r->round_inter : r->round_intra, scale = 65536 / r->step16;
    int any = 0;
    for (int i = 0; i < 64; i++) {
        int v = transformed[i], magnitude = v < 0 ? -v : v;
        magnitude = clip16(magnitude + round);
        int level = (int)(((uint32_t)magnitude * (uint32_t)scale) >> 16);
        any |= level;
        int16_t dequantised = (int16_t)(level * r->step16);
        b->levels[i] = (int16_t)(v < 0 ? -level : level);
        transformed[i] = (int16_t)(v < 0 ? -dequantised : dequantised);
    }
    if (!any) return;
    c->k->inverse(residual, transformed);
    uint8_t recon[64];
    uint32_t squared = 0;
    sum = 0;
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 8; i++) {
            int v = b->prediction[8 * j + i] + residual[8 * j + i];
            v = v < 0 ? 0 : v > 255 ? 255 : v;
            recon[8 * j + i] = (uint8_t)v;
            int e = source[j * c->pw + i] - v, d = v - b->prediction[8 * j + i];
            squared += (uint32_t)(e * e);
            sum += d < 0 ? -d : d;
        }
    uint32_t bits = bc_level_bits(&c->ctx, b->levels, !b->inter, b->neighbours, 0, c->p.rate);
    if (price(zero, b->bits, r->lambda_rate) * (uint32_t)c->p.zero_bias / 256 <= price(squared, bits, r->lambda_rate)) return;
    b->any = 1, b->residual = sum, b->squared = squared, b->bits = bits;
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

enum { MERGES = 3 };

/* Vectors that cost next to nothing: left, above, above right, where the block was a frame ago, still. */
static int merge_list(const bc_coder *c, int x, int y, int size, bc_mv *list) {
    const bc_cell *here = cell_at(c, x, y);
    const int last = size / 8 - 1;
    const bc_cell *around[4] = {here + last * c->cell_stride - 1, here - c->cell_stride + last,
                                here - c->cell_stride + last + 1,
                                c->cell_before + (here - c->cell) + last * (c->cell_stride + 1)};
    int n = 0;
    for (int i = 0; i < 4; i++)
        if (around[i]->inter) add_unique(list, &n, bc_clamp(c, x, y, size, around[i]->mv));
    bc_mv still = {0, 0};
    add_unique(list, &n, still);
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

/* The best vector of a block: one of the merge list, or searched. Returns SATD + lambda x bits. */
static int choose_vector(bc_coder *c, int x, int y, int size, const rates *r, bc_mv extra, coded *b, int *distortion) {
    bc_mv list[8];
    int n = merge_list(c, x, y, size, list), best = 1 << 30;
    b->inter = 1;
    b->predictor = median(c, x, y, size);
    const int merges = n < MERGES ? n : MERGES;
    for (int i = 0; i < merges; i++) {
        int d = satd(c, x, y, list[i], size);
        int cost = d + (int)(((c->p.merge_bits + which_bits(i, merges)) * (uint32_t)r->lambda) >> 16);
        if (cost < best) best = cost, *distortion = d, b->mv = list[i], b->merge = 1, b->which = i;
    }
    if (best <= c->p.still_from >> (size == 8 ? 2 : 0)) return best;
    add_unique(list, &n, extra);
    if (c->search_global) add_unique(list, &n, bc_clamp(c, x, y, size, c->global));
    add_unique(list, &n, b->predictor);
    bc_mv found;
    bc_search(c, x, y, size, b->predictor, list, n, r->lambda_search, &found);
    if (found.x == b->mv.x && found.y == b->mv.y) return best;
    int d = satd(c, x, y, found, size);
    int cost = d + (int)(((512 + bc_mv_cost(c, found, b->predictor)) * (uint32_t)r->lambda) >> 16);
    if (cost < best) best = cost, *distortion = d, b->mv = found, b->merge = 0;
    return best;
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

static uint32_t event(uint16_t *context, int bit, int commit, int rate) {
    return commit ? bc_put(context, bit, rate) : bc_bit_cost(*context, bit);
}

/* Bits of how a block is predicted. */
static uint32_t prediction_bits(bc_coder *c, const coded *b, int commit) {
    bc_contexts *ctx = &c->ctx;
    const int rate = c->p.rate;
    uint32_t bits = event(&ctx->inter[0], b->inter, commit, rate);
    if (!b->inter) return bits + 512;
    bits += event(&ctx->merge, b->merge, commit, rate);
    if (b->merge) return bits + event(&ctx->which_merge, b->which > 0, commit, rate) + (b->which > 0 ? 256u : 0u);
    return bits + bc_mv_cost(c, b->mv, b->predictor);
}

/* Codes one cell with its inter prediction, or intra where that is cheaper. */
static void code_cell(bc_coder *c, int x, int y, const rates *r, coded *b, int intra_frame, int distortion) {
    b->neighbours = count_levels(c, x, y);
    if (!intra_frame) bc_predict(c, x, y, b->mv, 8, b->prediction);
    if (intra_frame || distortion > c->p.intra_from) {
        uint8_t block[64];
        int mode = 0, d = bc_intra(c, x, y, block, &mode);
        int cost = d + (int)(((uint32_t)(1024 + c->p.intra_bias) * (uint32_t)r->lambda) >> 16);
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

static uint32_t residual_bits(bc_coder *c, const coded *b) {
    static const int16_t NONE[64] = {0};
    return bc_level_bits(&c->ctx, b->any ? b->levels : NONE, !b->inter, b->neighbours, 1, c->p.rate);
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
        output(c, u, v, 512 + residual_bits(c, &b), b.residual, 0xffff);
    }
}

static uint32_t squared_error(const bc_coder *c, int x, int y, const uint8_t *block) {
    const uint8_t *source = c->source + (ptrdiff_t)y * c->pw + x;
    uint32_t sum = 0;
    for (int j = 0; j < 16; j++)
        for (int i = 0; i < 16; i++) {
            int d = source[j * c->pw + i] - block[16 * j + i];
            sum += (uint32_t)(d * d);
        }
    return sum;
}

static void code_block(bc_coder *c, int x, int y, const rates *r) {
    coded whole, part[4];
    int distortion = 0, quarter[4];
    bc_cell *here = cell_at(c, x, y);
    uint16_t *skip_context = &c->ctx.skip[here[-1].skip + here[-c->cell_stride].skip];
    /* Skip: the best of the merge list, without a residual. */
    bc_mv list[8];
    int n = merge_list(c, x, y, 16, list), best_merge = 0, best = 1 << 30;
    if (n > MERGES) n = MERGES;
    for (int i = 0; i < n; i++) {
        int d = satd(c, x, y, list[i], 16) + (int)((which_bits(i, n) * (uint32_t)r->lambda) >> 16);
        if (d < best) best = d, best_merge = i;
    }
    uint8_t skipped[256];
    bc_predict(c, x, y, list[best_merge], 16, skipped);
    uint32_t skip_squared = squared_error(c, x, y, skipped);
    uint32_t skip_bits = bc_bit_cost(*skip_context, 1) + bc_bit_cost(c->ctx.which_merge, best_merge > 0) + (best_merge > 0 ? 256 : 0);
    int skip = best <= c->p.still_from;
    int split = 0;
    if (!skip) {
        bc_mv none = {0, 0};
        int cost = choose_vector(c, x, y, 16, r, none, &whole, &distortion);
        if (distortion > c->p.split_from) {
            int sum = (int)((512u * (uint32_t)r->lambda) >> 16);
            for (int i = 0; i < 4; i++) {
                int u = x + 8 * (i & 1), v = y + 8 * (i >> 1);
                sum += choose_vector(c, u, v, 8, r, whole.mv, &part[i], &quarter[i]);
                part[i].any = 0;
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
        uint32_t bits = bc_put(skip_context, 1, c->p.rate) + bc_put(&c->ctx.which_merge, best_merge > 0, c->p.rate) + (best_merge > 0 ? 256 : 0);
        for (int i = 0; i < 4; i++) {
            int u = x + 8 * (i & 1), v = y + 8 * (i >> 1);
            bc_cell *cell = cell_at(c, u, v);
            cell->mv = list[best_merge], cell->inter = cell->skip = 1, cell->coded = 0;
            output(c, u, v, bits / 4, 0, 0);
        }
        for (int j = 0; j < 16; j++) memcpy(c->recon + (ptrdiff_t)(y + j) * c->stride + x, skipped + 16 * j, 16);
        return;
    }
    uint32_t head = bc_put(skip_context, 0, c->p.rate) + bc_put(&c->ctx.split, split, c->p.rate);
    if (!split) head += prediction_bits(c, &part[0], 1);
    uint32_t cell[4], total = 0;
    for (int i = 0; i < 4; i++) {
        cell[i] = head / 4;
        if (split) cell[i] += prediction_bits(c, &part[i], 1);
        cell[i] += residual_bits(c, &part[i]);
        total += cell[i];
    }
    for (int i = 0; i < 4; i++) {
        uint32_t bits = (cell[i] * (uint32_t)c->p.spread + total / 4 * (uint32_t)(256 - c->p.spread)) / 256;
        output(c, x + 8 * (i & 1), y + 8 * (i >> 1), bits, part[i].residual, part[i].inter ? part[i].error : 0xffff);
    }
}

/* QP per 16 x 16 block: coarser where there is texture (aq), around the frame's mean. */
static void set_quantiser(bc_coder *c, int intra) {
    const int cols = c->pw / 16, rows = c->ph / 16, base = intra ? c->p.qp_intra : c->p.qp_inter;
    int64_t sum = 0;
    for (int i = 0; i < rows * cols; i++) c->qp[i] = (int16_t)base;
    if (!c->p.aq) return;
    for (int i = 0; i < rows * cols; i++) {
        const uint8_t *s = c->source + (ptrdiff_t)(i / cols) * 16 * c->pw + (i % cols) * 16;
        uint32_t total = 0, squares = 0;
        for (int y = 0; y < 16; y++)
            for (int x = 0; x < 16; x++) {
                uint32_t v = s[y * c->pw + x];
                total += v, squares += v * v;
            }
        uint32_t variance = squares - (uint32_t)(((uint64_t)total * total) >> 8);
        c->qp[i] = (int16_t)bc_log2(variance + 256);
        sum += c->qp[i];
    }
    int mean = (int)(sum / (rows * cols));
    for (int i = 0; i < rows * cols; i++) c->qp[i] = (int16_t)(base + (c->qp[i] - mean) * c->p.aq / 65536);
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
    if (c->p.reset) bc_reset_contexts(&c->ctx);
    set_quantiser(c, intra);
    for (int y = 0; y < c->ph; y += 16)
        for (int x = 0; x < c->pw; x += 16) {
            rates r = rates_for(c, c->qp[y / 16 * (c->pw / 16) + x / 16]);
            if (intra)
                code_intra_block(c, x, y, &r);
            else
                code_block(c, x, y, &r);
        }
}
