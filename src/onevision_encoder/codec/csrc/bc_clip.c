/* A clip through the coder: memory, the frame loop, outputs. */
#include "bc.h"

#include <stdlib.h>
#include <string.h>

static size_t aligned(size_t n) { return (n + 63) & ~(size_t)63; }

bc_coder *bc_new(int H, int W, const bc_parameters *p, int scalar) {
    bc_coder *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->H = H, c->W = W, c->p = *p, c->k = bc_kernels_for(scalar);
    c->h = (H + 7) / 8, c->w = (W + 7) / 8;
    c->ph = (H + 15) / 16 * 16, c->pw = (W + 15) / 16 * 16;
    c->stride = c->pw + 2 * BC_PAD;
    c->cell_stride = c->pw / 8 + 2;
    c->cells = (c->ph / 8 + 2) * c->cell_stride;
    const size_t picture = aligned((size_t)c->ph * c->pw), plane = aligned((size_t)(c->ph + 2 * BC_PAD) * c->stride + 64);
    const size_t cells = aligned((size_t)c->cells * sizeof(bc_cell)), bits = aligned((4 * BC_MAX_MV + 1) * sizeof(uint16_t));
    const size_t out = (size_t)c->h * c->w, qp = aligned((size_t)(c->ph / 16) * (c->pw / 16) * sizeof(int16_t));
    uint8_t *m = c->memory = calloc(1, 2 * picture + 5 * plane + 2 * cells + bits + qp + aligned(4 * out) + 2 * aligned(2 * out) + out);
    if (!m) {
        free(c);
        return NULL;
    }
    c->source = m, c->before = m + picture, m += 2 * picture;
    for (int i = 0; i < 4; i++, m += plane) c->planes[i] = m + (size_t)BC_PAD * c->stride + BC_PAD;
    c->recon = m + (size_t)BC_PAD * c->stride + BC_PAD, m += plane;
    c->cell = (bc_cell *)m, c->cell_before = (bc_cell *)(m + cells), m += 2 * cells;
    c->mv_bits = (uint16_t *)m, m += bits;
    c->qp = (int16_t *)m, m += qp;
    c->cell_bits = (uint32_t *)m, m += aligned(4 * out);
    c->cell_residual = (uint16_t *)m, m += aligned(2 * out);
    c->cell_error = (uint16_t *)m, m += aligned(2 * out);
    c->textured = m;
    bc_fill_mv_bits(c->mv_bits);
    bc_reset_contexts(&c->ctx);
    return c;
}

void bc_free(bc_coder *c) {
    if (c) free(c->memory);
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

/* Codes c->source on the frame before; sets *cut. Returns 0, or -1 when memory runs out. */
static int code_inter_frame(bc_coder *c, uint8_t *cut) {
    const bc_contexts kept = c->ctx;
    c->search_global = 0;
    bc_code_frame(c, 0);
    const int scene = bc_scene(c);
    if (scene < 0) return -1;
    if (scene == BC_SAME_SCENE) return 0;
    *cut = scene == BC_CUT;
    c->search_global = scene == BC_SHIFTED;
    c->ctx = kept;
    bc_code_frame(c, scene == BC_CUT);
    return 0;
}

int bc_code_clip(const uint8_t *luma, int T, int H, int W, const bc_parameters *p, int scalar, float *bits,
                 float *residual, float *motion, uint8_t *intra, uint8_t *cut) {
    bc_coder *c = bc_new(H, W, p, scalar);
    if (!c) return -1;
    const size_t cells = (size_t)c->h * c->w;
    int status = 0;
    for (int t = 0; t < T && !status; t++) {
        bc_load_source(c, luma + (size_t)t * H * W);
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
