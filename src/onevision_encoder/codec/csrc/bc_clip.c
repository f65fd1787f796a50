/* A clip through the coder: memory, the frame loop, outputs. */
#include "bc.h"

#include <stdlib.h>
#include <string.h>

/* Zeroed memory that bc_free gives back; every array is its own, so that a sanitizer sees the step from one to the next.
 * Sets *failed when there is none. */
static void *room(bc_coder *c, size_t count, size_t size, int *failed) {
    void *memory = calloc(count, size);
    if (!memory) *failed = 1;
    return c->memory[c->allocated++] = memory;
}

static uint8_t *plane(bc_coder *c, int *failed) {
    const size_t slack = 16; /* the half-pel filter writes whole vectors */
    uint8_t *memory = room(c, (size_t)(c->ph + 2 * BC_PAD) * c->stride + slack, 1, failed);
    return memory ? memory + (size_t)BC_PAD * c->stride + BC_PAD : NULL;
}

bc_coder *bc_new(int H, int W, const bc_parameters *p, int scalar) {
    bc_coder *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->H = H, c->W = W, c->p = *p, c->k = bc_kernels_for(scalar);
    c->h = (H + 7) / 8, c->w = (W + 7) / 8;
    c->ph = (H + 15) / 16 * 16, c->pw = (W + 15) / 16 * 16;
    c->stride = c->pw + 2 * BC_PAD;
    c->cell_stride = c->pw / 8 + 2;
    c->cells = (c->ph / 8 + 2) * c->cell_stride;
    const size_t picture = (size_t)c->ph * c->pw, out = (size_t)c->h * c->w;
    int failed = 0;
    c->source = room(c, picture, 1, &failed);
    c->before = room(c, picture, 1, &failed);
    for (int i = 0; i < 4; i++) c->planes[i] = plane(c, &failed);
    c->recon = plane(c, &failed);
    c->cell = room(c, (size_t)c->cells, sizeof(bc_cell), &failed);
    c->cell_before = room(c, (size_t)c->cells, sizeof(bc_cell), &failed);
    c->mv_bits = room(c, 4 * BC_MAX_MV + 1, sizeof(uint16_t), &failed);
    c->cell_bits = room(c, out, sizeof(uint32_t), &failed);
    c->cell_residual = room(c, out, sizeof(uint16_t), &failed);
    c->cell_error = room(c, out, sizeof(uint16_t), &failed);
    c->textured = room(c, out, 1, &failed);
    if (failed) {
        bc_free(c);
        return NULL;
    }
    bc_fill_mv_bits(c->mv_bits);
    bc_reset_contexts(&c->ctx);
    return c;
}

void bc_free(bc_coder *c) {
    if (!c) return;
    for (int i = 0; i < c->allocated; i++) free(c->memory[i]);
    free(c);
}

static void write_frame(const bc_coder *c, float *bits, float *residual, float *motion, uint8_t *intra) {
    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++) {
            const bc_cell *cell = c->cell + (size_t)(y + 1) * c->cell_stride + x + 1;
            const size_t i = (size_t)y * c->w + x;
            bits[i] = (float)c->cell_bits[i] / 256.0f;
            residual[i] = (float)c->cell_residual[i] / 64.0f;
            motion[2 * i] = (float)-cell->mv.x / 4.0f, motion[2 * i + 1] = (float)-cell->mv.y / 4.0f;
            intra[i] = !cell->inter;
        }
}

static int least(int a, int b) { return a < b ? a : b; }

/* Noise of c->source. It does not vanish from one frame to the next: a frame repeated shows none in time. */
static void follow_noise(bc_coder *c) {
    int space, time;
    bc_noise(c, &space, &time);
    c->noise_before = c->noise;
    const int lasting = c->noise - c->noise / 8;
    c->noise = least(space, time > lasting ? time : lasting);
}

/* The vector that won the vote among the last frame's cells: a camera that pans goes on. Where more than half had one,
 * it is that one; else it may be any of theirs, which is only where a search starts. */
static bc_mv majority(const bc_coder *c) {
    bc_mv mv = {0, 0};
    int lead = 0;
    for (int y = 1; y <= c->ph / 8; y++)
        for (int x = 1; x <= c->pw / 8; x++) {
            const bc_cell *cell = c->cell_before + (ptrdiff_t)y * c->cell_stride + x;
            const int same = cell->mv.x == mv.x && cell->mv.y == mv.y;
            if (!lead) mv = cell->mv;
            lead += same || !lead ? 1 : -1; /* Boyer and Moore's vote */
        }
    return mv;
}

/* Codes c->source on the frame before; sets *cut. Returns 0, or -1 when memory runs out. */
static int code_inter_frame(bc_coder *c, uint8_t *cut) {
    const bc_contexts kept = c->ctx;
    c->global = majority(c);
    bc_code_frame(c, 0);
    const int scene = bc_scene(c);
    if (scene < 0) return -1;
    if (scene == BC_SAME_SCENE) return 0;
    *cut = scene == BC_CUT;
    c->ctx = kept;
    if (scene == BC_CUT) c->noise = least(c->noise, c->noise_before); /* what is new in time says nothing */
    bc_code_frame(c, scene == BC_CUT);
    return 0;
}

int bc_code_clip(const uint8_t *luma, int T, int H, int W, const bc_parameters *p, int scalar, float *bits,
                 float *residual, float *motion, uint8_t *intra, uint8_t *cut) {
    bc_coder *c = bc_new(H, W, p, scalar);
    if (!c) return -1;
    const size_t cells = (size_t)c->h * c->w;
    int status = 0;
    if (T > 1) { /* frame 0 has none before it: the noise of frame 1 is taken for its own */
        bc_load_source(c, luma);
        bc_load_source(c, luma + (size_t)H * W);
        follow_noise(c);
    }
    for (int t = 0; t < T && !status; t++) {
        bc_load_source(c, luma + (size_t)t * H * W);
        if (t > 0) follow_noise(c);
        cut[t] = t == 0;
        if (t == 0)
            bc_code_frame(c, 1);
        else
            status = code_inter_frame(c, &cut[t]);
        write_frame(c, bits + t * cells, residual + t * cells, motion + 2 * t * cells, intra + t * cells);
        bc_next_frame(c);
    }
    bc_free(c);
    return status;
}
