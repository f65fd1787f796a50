/* Reference pictures: borders, half-pel planes, and blocks at quarter-pel positions. */
#include "bc.h"

#include <string.h>

/* The frame, with its last row and column repeated up to multiples of 16. */
void bc_load_source(bc_coder *c, const uint8_t *luma) {
    uint8_t *spare = c->before;
    c->before = c->source;
    c->source = spare;
    for (int y = 0; y < c->ph; y++) {
        uint8_t *row = c->source + (size_t)y * c->pw;
        const uint8_t *from = luma + (size_t)(y < c->H ? y : c->H - 1) * c->W;
        memcpy(row, from, (size_t)c->W);
        memset(row + c->W, from[c->W - 1], (size_t)(c->pw - c->W));
    }
}

/* Repeats the border of the region [-m, height + m) x [-m, width + m) out to BC_PAD. */
static void extend(const bc_coder *c, uint8_t *plane, int m) {
    const int stride = c->stride, out = BC_PAD - m, width = c->pw + 2 * m;
    for (int y = -m; y < c->ph + m; y++) {
        uint8_t *row = plane + (ptrdiff_t)y * stride - m;
        memset(row - out, row[0], (size_t)out);
        memset(row + width, row[width - 1], (size_t)out);
    }
    const uint8_t *top = plane - (ptrdiff_t)m * stride - BC_PAD;
    const uint8_t *bottom = plane + (ptrdiff_t)(c->ph + m - 1) * stride - BC_PAD;
    for (int i = 1; i <= out; i++) {
        memcpy((uint8_t *)top - (ptrdiff_t)i * stride, top, (size_t)(c->pw + 2 * BC_PAD));
        memcpy((uint8_t *)bottom + (ptrdiff_t)i * stride, bottom, (size_t)(c->pw + 2 * BC_PAD));
    }
}

/* Turns the coded frame into the reference: half-pel planes by H.264's six taps; the one between both half-pel
 * directions is filtered from the rounded plane. Outside the picture by 4 pixels every plane is constant across. */
void bc_make_reference(bc_coder *c) {
    enum { M = 4 };
    const int stride = c->stride, n = c->pw + 2 * M;
    uint8_t *spare = c->planes[BC_PLANE_FULL];
    c->planes[BC_PLANE_FULL] = c->recon;
    c->recon = spare;
    extend(c, c->planes[BC_PLANE_FULL], 0);
    for (int y = -M - 3; y < c->ph + M + 3; y++) {
        ptrdiff_t at = (ptrdiff_t)y * stride - M;
        c->k->six_tap(c->planes[BC_PLANE_RIGHT] + at, c->planes[BC_PLANE_FULL] + at, 1, n);
    }
    for (int y = -M; y < c->ph + M; y++) {
        ptrdiff_t at = (ptrdiff_t)y * stride - M;
        c->k->six_tap(c->planes[BC_PLANE_DOWN] + at, c->planes[BC_PLANE_FULL] + at, stride, n);
        c->k->six_tap(c->planes[BC_PLANE_BOTH] + at, c->planes[BC_PLANE_RIGHT] + at, stride, n);
    }
    for (int i = BC_PLANE_RIGHT; i <= BC_PLANE_BOTH; i++) extend(c, c->planes[i], M);
}

/* Two samples whose mean is the quarter-pel position (fy, fx): {plane, dx, dy} each (H.264, figure 8-4). */
const uint8_t BC_FIRST[16][3] = {{0, 0, 0}, {0, 0, 0}, {1, 0, 0}, {1, 0, 0}, {0, 0, 0}, {1, 0, 0}, {1, 0, 0}, {1, 0, 0},
                                 {2, 0, 0}, {2, 0, 0}, {3, 0, 0}, {3, 0, 0}, {2, 0, 0}, {2, 0, 0}, {3, 0, 0}, {2, 1, 0}};
const uint8_t BC_SECOND[16][3] = {{0, 0, 0}, {1, 0, 0}, {1, 0, 0}, {0, 1, 0}, {2, 0, 0}, {2, 0, 0}, {3, 0, 0}, {2, 1, 0},
                                  {2, 0, 0}, {3, 0, 0}, {3, 0, 0}, {2, 1, 0}, {0, 0, 1}, {1, 0, 1}, {1, 0, 1}, {1, 0, 1}};

/* The reference block at (x, y) + mv: where it lies in a plane, or averaged into buffer (size x size). */
const uint8_t *bc_block(const bc_coder *c, int x, int y, bc_mv mv, int size, uint8_t *buffer, int *stride) {
    const uint8_t *a, *b;
    *stride = c->stride;
    if (!bc_samples(c, x, y, mv, &a, &b)) return a;
    c->k->mean[size == 16](buffer, a, b, c->stride);
    *stride = size;
    return buffer;
}

void bc_predict(const bc_coder *c, int x, int y, bc_mv mv, int size, uint8_t *out) {
    int stride;
    const uint8_t *block = bc_block(c, x, y, mv, size, out, &stride);
    if (block != out)
        for (int j = 0; j < size; j++) memcpy(out + j * size, block + (ptrdiff_t)j * stride, (size_t)size);
}
